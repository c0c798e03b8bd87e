"""The program as a study starts it: it ends with the study."""

import ast
import os
import signal
import subprocess
from pathlib import Path

import pytest

from asteroid_stab.cli import study, study_step


def test_it_asks_itself_to_end_once_the_other_end_of_the_pipe_is_closed(monkeypatch):
    pieces, asked = iter([b"x", b"x", b""]), []
    monkeypatch.setattr(study_step.os, "read", lambda descriptor, n: next(pieces))
    monkeypatch.setattr(study_step.os, "kill", lambda *given: asked.append(given))
    study_step.end_with_parent()
    assert asked == [(os.getpid(), signal.SIGTERM)]
    assert next(pieces, None) is None


def started(*words, cwd=None):
    return subprocess.Popen(
        [*study.PROGRAM, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )


@pytest.mark.slow
def test_it_runs_a_verb_while_the_pipe_is_open():
    with started("no-verb") as process:
        assert process.stderr.readline().startswith("asteroid-stab: error: no verb 'no-verb'")
        assert process.wait(30) == 2


@pytest.mark.slow
def test_it_is_of_the_version_that_runs_the_study_in_any_folder(tmp_path):
    """A study was run in a checkout of another version, and its trainings were of that one."""
    (tmp_path / "asteroid_stab").mkdir()
    (tmp_path / "asteroid_stab" / "__init__.py").write_text("raise SystemExit('another version')")
    with started("no-verb", cwd=tmp_path) as process:
        assert process.stderr.readline().startswith("asteroid-stab: error: no verb 'no-verb'")


@pytest.mark.slow
def test_the_users_folders_stay_where_the_own_one_is_not_first(tmp_path, monkeypatch):
    """Python puts the folder of a program before all others, but not with this variable (from 3.11 on)."""
    package = Path(study.__file__).parents[2]
    (tmp_path / "sitecustomize.py").write_text("import atexit, sys\natexit.register(lambda: print(sys.path))\n")
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with started("no-verb", cwd=tmp_path) as process:
        path = ast.literal_eval(process.stdout.read())
        assert process.wait(30) == 2
    assert str(tmp_path) in path
    assert str(package) in path
    assert str(package / "asteroid_stab" / "cli") not in path


@pytest.mark.slow
def test_it_ends_once_the_pipe_is_closed(tmp_path):
    """Here while it waits for a file that nobody writes."""
    os.mkfifo(tmp_path / "recipe.yaml")
    with started("train", "recipe", f"--config-dir={tmp_path}") as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.stdin.close()
        assert process.wait(30) in (-signal.SIGTERM, 128 + signal.SIGTERM)
