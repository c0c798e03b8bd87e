"""The program before a verb does its work."""

import subprocess
import sys


def test_help_imports_nothing_that_takes_long():
    code = "import sys; from asteroid_stab.cli.main import main; main(['--help']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "trains a recipe" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"
