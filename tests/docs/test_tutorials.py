"""The notebooks: without outputs in the repository, and run from their first cell to their last."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))


def cells(notebook, kind="code"):
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def test_there_are_notebooks():
    assert [notebook.stem for notebook in NOTEBOOKS] == ["label_switching"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_it_is_kept_without_outputs(notebook):
    assert cells(notebook)
    for cell in cells(notebook):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_it_runs_within_a_minute_of_one_core(notebook, tmp_path):
    """As a program, cell after cell; seconds of the processor, which other work on the machine does not lengthen."""
    program = tmp_path / "notebook.py"
    program.write_text("\n\n".join("".join(cell["source"]) for cell in cells(notebook)), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    before = os.times()
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    after = os.times()
    assert done.returncode == 0, done.stderr
    assert "plain PIT ['" in done.stdout
    assert (after.children_user - before.children_user) + (after.children_system - before.children_system) < 60
