"""``bench pit``: its table and file, and that the loss is as much faster and smaller as it is said to be."""

from __future__ import annotations

import json

import pytest
import torch

from bench import pit as bench_pit


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The file of one short run."""
    file = tmp_path_factory.mktemp("bench") / "pit.json"
    assert bench_pit.BENCH.main(["--n-src", "2", "5", "--rounds", "40", "--budget-s", "3", "--json", str(file)]) == 0
    return json.loads(file.read_text())


@pytest.mark.bench
@pytest.mark.parametrize(("row", "n_src", "time_ratio", "memory_ratio"), [(0, 2, 1.5, 2.0), (1, 5, 4.5, 6.0)])
def test_faster_and_smaller_than_asteroid(measured, row, n_src, time_ratio, memory_ratio):
    """The bounds leave a third for what else the machine does."""
    row = measured["rows"][row]
    assert row["n_src"] == n_src
    assert row["time_ratio"] > time_ratio
    assert row["memory_ratio"] > memory_ratio
    assert row["difference_db"] < 0.01
    assert row["gradient_difference"] < 1e-4


@pytest.mark.bench
def test_file_says_what_was_measured(measured):
    setup = {key: measured[key] for key in ("batch_size", "n_samples", "threads", "device")}
    assert setup == {"batch_size": 8, "n_samples": 24000, "threads": 1, "device": "cpu"}
    assert measured["packages"]["torch"] == torch.__version__.split("+")[0]
    row = measured["rows"][1]
    assert row["asteroid_s"] >= row["asteroid_min_s"] == pytest.approx(row["ours_min_s"] * row["time_ratio"])
    signal = 8 * 5 * 24000 * 4
    assert 2 * signal < row["ours_bytes"] < 5 * signal  # the gradient and what it is made from
    assert 3 <= row["n_rounds"] <= 40


def test_table_has_a_row_for_each_number_of_sources(monkeypatch, capsys):
    monkeypatch.setattr(bench_pit, "peak_bytes", lambda what, *_: (30 if "asteroid" in what else 10) * 2**20)
    threads = torch.get_num_threads()
    small = ["--batch-size", "2", "--n-samples", "200", "--rounds", "3"]
    assert bench_pit.BENCH.main([*small, "--n-src", "1", "3", "11"]) == 0
    assert torch.get_num_threads() == threads
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = {row[0]: row for row in rows if row and row[0].isdecimal()}
    assert set(rows) == {"1", "3", "11"}
    assert rows["11"][4:7] == ["30.0", "10.0", "3.0×"]
    assert all(float(row[-1]) < 1e-4 for row in rows.values())


def test_both_sides_are_given_the_same_and_agree_above_asteroids_limit():
    est, targets = bench_pit.batch(2, 12, 300, "cpu")
    theirs, mine = (bench_pit.loss_of(side, est, targets) for side in bench_pit.SIDES)
    torch.testing.assert_close(mine, theirs)
    assert -15 < mine < -5
    assert torch.equal(bench_pit.batch(2, 12, 300, "cpu")[0], est)


def test_three_rounds_at_least_and_no_more_once_the_time_is_over():
    signals = bench_pit.batch(1, 2, 50, "cpu")
    assert bench_pit.measure_times(*signals, n_rounds=50, budget_s=0.0)["n_rounds"] == 3
    assert bench_pit.measure_times(*signals, n_rounds=5, budget_s=60.0)["n_rounds"] == 5
