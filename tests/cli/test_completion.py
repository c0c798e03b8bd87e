"""Shell completion, as a shell asks for it."""

import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from asteroid_stab.cli.main import VERBS, main
from asteroid_stab.metrics.names import METRICS
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.recipes import recipe_files

ROOT = Path(__file__).resolve().parents[2]
# Asks bash for the completions of the line in $1, as a press of the Tab key does.
ASK = """
eval "$(cat "$2")"
COMP_LINE=$1; COMP_POINT=${#1}; COMP_TYPE=9; COMP_KEY=9
_python_argcomplete asteroid-stab
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def place(tmp_path):
    """A folder with the program on the path, the script of bash, and some runs."""
    program = tmp_path / "bin" / "asteroid-stab"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m asteroid_stab.cli.main "$@"\n')
    program.chmod(0o755)
    for name in ("runs/one", "runs/two", "other"):
        (tmp_path / name).mkdir(parents=True)
    for run in ("runs/one", "runs/two"):
        RunLayout(tmp_path / run).config.touch()
    return tmp_path


def environment(place):
    path = os.pathsep.join([str(place / "bin"), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def ask(place, capsys):
    assert main(["completion", "bash"]) == 0
    (place / "script").write_text(capsys.readouterr().out)

    def ask(line):
        words = ["bash", "--norc", "-c", ASK, "bash", line, place / "script"]
        done = subprocess.run(words, cwd=place, env=environment(place), capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return {word.rstrip() for word in done.stdout.splitlines()} - {""}

    return ask


def test_verbs(ask):
    assert ask("asteroid-stab ") == set(VERBS)
    assert ask("asteroid-stab sep") == {"separate"}
    assert ask("asteroid-stab --v") == {"--version"}


def test_recipes_and_options_of_train(ask):
    assert ask("asteroid-stab train base") == {name for name in recipe_files() if name.startswith("base")}
    assert ask("asteroid-stab train --or") == {"--or-resume"}
    assert "baseline/toy" in ask("asteroid-stab recipes copy ")
    assert ask("asteroid-stab recipes c") == {"copy"}


def test_run_folders(ask):
    assert ask("asteroid-stab evaluate ") == {"bin/", "other/", "runs/"}
    assert ask("asteroid-stab report runs/") == {"runs/one", "runs/two"}
    assert ask("asteroid-stab separate ~nobody/x/") == set()
    assert "one" in str(ask("asteroid-stab train resume=runs/o"))
    assert "one" in str(ask("asteroid-stab train baseline/toy init.path=runs/o"))
    assert ask("asteroid-stab evaluate runs/one --split t") == {"train", "test"}
    assert ask("asteroid-stab evaluate runs/one --metrics ") >= set(METRICS)


def test_recipes_of_a_folder_of_ones_own(ask, place):
    (place / "own" / "mine").mkdir(parents=True)
    (place / "own" / "mine" / "a.yaml").touch()
    assert ask("asteroid-stab train --config-dir own mi") == {"mine/a"}
    assert ask("asteroid-stab train --config-dir nowhere baseline/lib") == {"baseline/libri2mix_convtasnet"}


@pytest.mark.parametrize("line", ["asteroid-stab bench ", "asteroid-stab nothing ", "asteroid-stab completion t"])
def test_nothing_is_run_where_nothing_is_known(ask, line):
    assert ask(line) == set()


def test_no_answer_imports_what_takes_long():
    """A second of torch at each press of a key would be felt: the words of each verb are known without it."""
    code = """
import sys
from importlib import import_module
from asteroid_stab.cli import completion
assert list(completion.recipes("", None))
for verb in sys.argv[1:]:
    import_module(f"asteroid_stab.cli.{verb}").make_parser()
    slow = {"torch", "numpy", "scipy", "hydra", "asteroid", "pandas", "rich", "soundfile"} & set(sys.modules)
    assert not slow, f"{verb} imports {slow}"
"""
    verbs = [verb for verb in VERBS if verb != "bench"]
    done = subprocess.run([sys.executable, "-c", code, *verbs], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.bench
def test_an_answer_takes_less_than_three_tenths_of_a_second(place):
    """The best of five, in time of the processor, since other programs may have it for most of the time."""
    line = "asteroid-stab evaluate runs/"
    env = {**environment(place), "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE": "1"}
    took = []
    for _ in range(5):
        before = os.times()
        done = subprocess.run(
            ["bash", "-c", "exec asteroid-stab 8>&1"], cwd=place, env=env, check=True, capture_output=True, text=True
        )
        after = os.times()
        took.append(sum(after[2:4]) - sum(before[2:4]))
        assert "runs/one" in done.stdout
    assert min(took) < 0.3, took


def test_scripts_are_for_the_shells_that_are_named(capsys):
    for shell, mark in (("bash", r"complete .*-F _python_argcomplete"), ("zsh", "compdef"), ("fish", r"complete .*-c")):
        assert main(["completion", shell]) == 0
        assert re.search(mark, capsys.readouterr().out)
    with pytest.raises(SystemExit):
        main(["completion", "tcsh"])
    assert "invalid choice: 'tcsh'" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish here")
def test_fish_asks_too(place, capsys):
    main(["completion", "fish"])
    script = place / "script.fish"
    script.write_text(capsys.readouterr().out)
    line = "asteroid-stab report runs/"
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"],
        cwd=place,
        env={**environment(place), "HOME": str(place)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {word.split("\t")[0] for word in done.stdout.splitlines()} == {"runs/one", "runs/two"}


def test_every_verb_has_a_parser_to_ask():
    """The benchmarks have theirs in ``bench/``."""
    assert [verb for verb in VERBS if not hasattr(import_module(f"asteroid_stab.cli.{verb}"), "make_parser")] == [
        "bench"
    ]
