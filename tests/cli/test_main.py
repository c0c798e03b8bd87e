"""The program before a verb does its work."""

import contextlib
import importlib
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from asteroid_stab.cli import recipes
from asteroid_stab.cli.main import VERBS, main


def test_help_imports_nothing_that_takes_long():
    code = "import sys; from asteroid_stab.cli.main import main; main(['--help']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "trains a recipe" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


def program(*words, then="", **kwargs):
    """Runs the program in a shell, with what stands behind it; gives its own status."""
    command = f'"$0" -m asteroid_stab.cli.main "$@" {then}; exit "${{PIPESTATUS[0]}}"'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, *words], capture_output=True, text=True, check=False, **kwargs
    )


def test_a_reader_that_goes_away_is_no_error():
    done = program("recipes", then="| true")
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("gone", [True, False])
def test_a_reader_is_looked_for_where_no_pipe_can_be_asked(monkeypatch, gone):
    """As on Windows: a stream whose reader has gone fails again."""

    class Stream:
        def flush(self):
            if gone:
                raise BrokenPipeError

    program = importlib.import_module("asteroid_stab.cli.main")
    monkeypatch.delattr(program.select, "poll")
    assert program._nobody_reads(Stream()) == gone


def test_output_that_cannot_be_written_is_told():
    done = program("recipes", then="> /dev/full")
    assert done.returncode == 2
    assert done.stderr == "asteroid-stab: error: cannot read or write: No space left on device\n"


def test_a_terminal_of_ascii_shows_every_name():
    done = program("train", "bäse\udcff", env={**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert done.returncode == 2
    assert "no recipe 'b\\xe4se\\udcff'" in done.stderr.replace("\\\\", "\\")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (OSError(28, "No space left on device", "a/b"), "cannot read or write 'a/b': No space left on device"),
        (PermissionError(13, "Permission denied", "c"), "cannot read or write 'c': Permission denied"),
        (OSError(36, "File name too long", "d"), "cannot read or write 'd': File name too long"),
    ],
)
def test_a_fault_of_the_machine_is_one_line(error, shown, monkeypatch, capsys):
    def fail(_):
        raise error

    monkeypatch.setattr(recipes, "main", fail)
    assert main(["recipes"]) == 2
    assert capsys.readouterr().err == f"asteroid-stab: error: {shown}\n"
    monkeypatch.setenv("ASTEROID_STAB_TRACEBACK", "1")
    with pytest.raises(OSError, match=error.strerror):
        main(["recipes"])


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file", "x"), BrokenPipeError(32, "Broken pipe")])
def test_a_fault_of_the_program_keeps_its_traceback(error, monkeypatch):
    def fail(_):
        raise error

    monkeypatch.setattr(recipes, "main", fail)
    with pytest.raises(type(error)):
        main(["recipes"])


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("number", "status", "name"), [(signal.SIGINT, 130, r"Ctrl-C \(SIGINT\)"), (signal.SIGTERM, 143, "SIGTERM")]
)
def test_a_verb_that_a_signal_ends_says_so(monkeypatch, capsys, verb, number, status, name):
    """Whatever exception it leads to, and where it is swallowed too."""

    def ended(argv):
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), number)
            time.sleep(5)
        if "swallow" not in argv:
            raise RuntimeError("a worker died")
        return 0

    monkeypatch.setattr(importlib.import_module(f"asteroid_stab.cli.{verb}"), "main", ended)
    for words in ([verb], [verb, "swallow"]):
        assert main(words) == status
        assert re.fullmatch(f"asteroid-stab {verb}: ended by {name}\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        RuntimeError("std::bad_alloc"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"),
    ],
)
def test_too_little_memory_is_one_line(error, monkeypatch, capsys):
    def fail(rest):
        raise error

    monkeypatch.setattr("asteroid_stab.cli.recipes.main", fail)
    assert main(["recipes"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"asteroid-stab: error: not enough memory ({type(error).__name__}")
    assert shown.endswith("needs less\n")
    assert len(shown.splitlines()) == 1
    monkeypatch.setenv("ASTEROID_STAB_TRACEBACK", "1")
    with pytest.raises(type(error)):
        main(["recipes"])
