"""The picture of the data map and its table, against counts by hand."""

import numpy as np
import pandas as pd
import pytest

from asteroid_stab.errors import StabError
from asteroid_stab.report import data_map as module
from asteroid_stab.report.data_map import data_map
from asteroid_stab.report.page import render
from asteroid_stab.report.run_data import read_runs
from asteroid_stab.run.assignments import write_items
from asteroid_stab.run.item_tables import DATA_MAP
from asteroid_stab.run.layout import RunLayout

SWITCHES = [0] * 12 + [1] * 5 + [2, 3, 3] + [9, 15]


@pytest.fixture
def run(make_run):
    """A run whose switching items have the larger spread and the lower mean; its last item was never visited."""
    path = make_run()
    random = np.random.default_rng(0)
    switches = np.array(SWITCHES, dtype=np.float32)
    mean = 10 - switches + 0.1 * random.random(len(switches))
    spread = 1 + switches / 4 + 0.1 * random.random(len(switches))
    rows = np.stack([np.full(len(switches), 12), mean, spread, switches], 1)
    DATA_MAP.write(RunLayout(path).data_map, np.concatenate([rows, np.zeros((1, 4))]).astype(np.float32))
    return path


def test_items_are_grouped_by_their_switches(run):
    section = data_map(read_runs([run]))
    figure, table = section.parts
    stored = np.load(run / "data_map.npy")[:-1]
    assert [row[:3] for row in table.rows] == [
        ["0", "12", "54.5 %"], ["1", "5", "22.7 %"], ["2 to 3", "3", "13.6 %"], ["8 and more", "2", "9.1 %"]
    ]  # fmt: skip
    assert [key.label for key in figure.legend] == [row[0] for row in table.rows]
    for row, (least, most) in zip(table.rows, [(0, 0), (1, 1), (2, 3), (8, 99)], strict=True):
        of = stored[(stored[:, 3] >= least) & (stored[:, 3] <= most)]
        assert float(row[3].replace("−", "-")) == pytest.approx(of[:, 1].mean(), abs=0.006)
        assert float(row[4]) == pytest.approx(of[:, 2].mean(), abs=0.006)
    ranks = [pd.Series(stored[:, 3]).corr(pd.Series(stored[:, of]), method="spearman") for of in (2, 1)]
    words = f"switches with spread: {ranks[0]:.2f}, with mean: {ranks[1]:.2f}".replace("-", "−")
    assert words in figure.caption
    assert figure.caption.startswith("22 items, coloured by number of switches.")
    assert figure.svg.count("<title>item ") == 22
    assert "item 21: mean" in figure.svg
    assert 'id="data-map"' in render(read_runs([run]))


def test_points_have_the_names_of_the_items_where_there_are_some(run):
    write_items(run, [f"mix <{i}>" for i in range(23)], "f")
    figure = data_map(read_runs([run])).parts[0]
    assert "<title>mix &lt;21&gt;: mean" in figure.svg
    write_items(run, ["of", "another", "corpus"], "f")
    assert "<title>item 21: mean" in data_map(read_runs([run])).parts[0].svg


def test_of_many_items_some_are_drawn_and_all_are_counted(run, monkeypatch):
    monkeypatch.setattr(module, "MOST_POINTS", 10)
    figure, table = data_map(read_runs([run])).parts
    assert figure.caption.startswith("10 of 22 items")
    assert figure.svg.count("<title>item ") == 10
    assert [row[1] for row in table.rows] == ["12", "5", "3", "2"]


def test_there_is_none_without_a_map_or_a_visit(make_run):
    path = make_run()
    assert data_map(read_runs([path])) is None
    DATA_MAP.write(RunLayout(path).data_map, np.zeros((5, 4), dtype=np.float32))
    assert data_map(read_runs([path])) is None
    DATA_MAP.write(RunLayout(path).data_map, np.array([[1, 2.0, 0.0, 0]], dtype=np.float32))
    assert "with spread: –, with mean: –" in data_map(read_runs([path])).parts[0].caption
    (path / "data_map.npy").write_bytes(b"x")
    with pytest.raises(StabError, match="no readable data map"):
        read_runs([path])
