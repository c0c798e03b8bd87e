"""asteroid-stab bench step: sides that compute the same, a table, a file."""

import json
import time

import pytest
import torch

from asteroid_stab.cli.main import main
from bench import step as bench_step
from bench.measure import least_times
from bench.methods import calls, methods
from bench.pit import batch

TINY = ["--batch-size", "2", "--n-samples", "800", "--rounds", "1"]


@pytest.mark.parametrize("n_src", [2, 12])
@pytest.mark.filterwarnings("ignore:Creating a tensor")
def test_the_exact_sides_agree(n_src):
    est, targets = batch(2, n_src, 800, "cpu")
    sides = bench_step.losses(n_src, "cpu")
    assert set(sides) == set(bench_step.SIDES)
    torch.testing.assert_close(sides["asteroid"](est, targets), sides["hungarian"](est, targets), rtol=1e-4, atol=1e-4)


def test_it_prints_tables_and_writes_numbers(tmp_path, capsys):
    file = tmp_path / "step.json"
    assert main(["bench", "step", "--n-src", "2", "3", *TINY, "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert "training step, ConvTasNet (small), B = 2" in out
    assert "added to a step (Hun)" in out
    for name in bench_step.added(json.loads(file.read_text())["rows"][0]):
        assert name in out
    assert "…" not in out, "it fits 80 columns"
    result = json.loads(file.read_text())
    assert [row["n_src"] for row in result["rows"]] == [2, 3]
    for row in result["rows"]:
        assert set(row["step_s"]) == {*bench_step.SIDES, bench_step.FUSED}
        assert set(row["loss_s"]) == set(bench_step.SIDES)
        assert set(row["method_s"]) == set(methods())
        assert all(row["step_s"][side] > row["loss_s"][side] > 0 for side in bench_step.SIDES)
    assert result["packages"]["asteroid"] == "0.7.0"


@pytest.mark.bench
def test_weights_and_hysteresis_add_less_than_a_hundredth_to_a_step():
    """Two sources, where the search is the cheapest."""
    step = least_times(
        {"hungarian": bench_step.steps(_small_model(2), 8, 2, 12_000, "cpu")["hungarian"]}, 6, 60.0, "cpu"
    )
    seconds = least_times(calls(8, 2, 12_000, "cpu"), 100, 60.0, "cpu", clock=time.process_time)
    parts = bench_step.added({"step_s": step, "method_s": seconds})
    for name in ("hysteresis", "dropout", "graded", "reweighting", "threshold", "map weights", "map alone"):
        assert parts[name] < 0.01, parts


@pytest.mark.bench
def test_a_step_is_not_slower_than_with_asteroids_loss():
    """The small model of the bench at 20 sources; at 2 the loss is too small a part of the step to tell."""
    calls = bench_step.steps(_small_model(20), 4, 20, 12_000, "cpu")
    times = least_times({side: calls[side] for side in ("asteroid", "hungarian")}, 6, 60.0, "cpu")
    assert times["asteroid"] > 1.2 * times["hungarian"]


def _small_model(n_src):
    from asteroid.models import ConvTasNet

    torch.manual_seed(0)
    return ConvTasNet(n_src, mask_act="relu", **bench_step.MODELS["small"])
