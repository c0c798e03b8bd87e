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

from asteroid_stab.cli.main import VERBS, main


def test_help_imports_nothing_that_takes_long():
    code = "import sys; from asteroid_stab.cli.main import main; main(['--help']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "trains a recipe" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


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
