"""asteroid-stab bench scale: its figures, and that millions of items fit."""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest

from asteroid_stab.cli.main import main
from asteroid_stab.errors import StabError
from bench import scale


def test_it_prints_a_row_for_each_number_and_writes_the_figures(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scale, "measure_size", scale._measure_here)  # a process of its own takes seconds
    file = tmp_path / "scale.json"
    words = ["--items", "50", "3000", "--batch-size", "5", "--n-src", "3", "--steps", "3", "--json", str(file)]
    assert main(["bench", "scale", *words]) == 0
    out = capsys.readouterr().out
    assert "3 sources, batches of 5" in out
    sizes = json.loads(file.read_text())["sizes"]
    assert [size["n_items"] for size in sizes] == [50, 3000]
    for size in sizes:
        assert size["peak_bytes"] >= size["imports_bytes"] > 0
        assert all(size[f"{part}_s"] > 0 for part in ("start_up", "step", "end_epoch", "labels", "resume"))


def test_fewer_items_than_a_batch_are_refused(capsys):
    assert main(["bench", "scale", "--items", "100", "4"]) == 2
    assert "--items must be at least --batch-size, 8, got 4" in capsys.readouterr().err


def test_a_system_that_counts_no_memory_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    with pytest.raises(StabError, match="bench scale needs the memory .*, and Windows has no module for it"):
        scale._peak()


def test_a_process_that_is_killed_is_told(monkeypatch):
    class Killed(ProcessPoolExecutor):
        def submit(self, call, *args):
            raise BrokenProcessPool

    monkeypatch.setattr(scale, "ProcessPoolExecutor", Killed)
    with pytest.raises(StabError, match="the measurement of 9 items was killed, probably because memory ran out"):
        scale.measure_size(9, 2, 3, 1)


@pytest.mark.bench
def test_ten_million_items():
    small, large = (scale.measure_size(n, n_src=2, batch_size=8, n_steps=200) for n in (100_000, 10_000_000))
    assert large["peak_bytes"] - large["imports_bytes"] < 0.9e9  # 90 bytes an item
    for part in ("start_up_s", "end_epoch_s"):
        assert large[part] < 300 * small[part], part  # a hundred times the items; seconds depend on the machine
    assert large["step_s"] < 3 * small["step_s"]
