"""Devices without float64: the numbers, and every part of a training on a stand-in for one."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from asteroid_stab import precision
from asteroid_stab.losses.filtered import filtered_sdr
from asteroid_stab.precision import add_exactly, as_double, precise_dtype
from asteroid_stab.stabilizers.sums import EpochSums

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def narrow(monkeypatch):
    """Treats the CPU as a device without float64."""
    monkeypatch.setattr(precision, "WITHOUT_FLOAT64", {"mps", "cpu"})


def test_every_other_device_is_precise():
    assert {name: precise_dtype(torch.device(name)) for name in ("cpu", "cuda:1", "xpu", "mps:0")} == {
        "cpu": torch.float64,
        "cuda:1": torch.float64,
        "xpu": torch.float64,
        "mps:0": torch.float32,
    }
    values = torch.rand(3)
    assert torch.equal(as_double(values), values.double())


def test_a_pair_holds_what_one_number_loses():
    random = torch.Generator().manual_seed(0)
    parts = 1000 * torch.randn(20_000, generator=random)
    total, plain = torch.zeros(2), torch.zeros(())
    for part in parts:
        total, plain = add_exactly(total, part), plain + part
    exact = math.fsum(parts.tolist())
    assert abs(as_double(total).sum().item() - exact) < 1e-6
    assert abs(plain.item() - exact) > 1e-2


def test_sums_are_the_same_without_float64(narrow):
    random = torch.Generator().manual_seed(0)
    values = [100 * torch.rand(7, generator=random) for _ in range(500)]
    sums, wanted = EpochSums(), 0.0
    for i, value in enumerate(values):
        sums.add(loss=value, items=value > 50)
        wanted += math.fsum(value.tolist())
        if i == 250:  # saved, and taken by another
            state = sums.state_dict()
            assert state["loss"].dtype == torch.float64
            sums = EpochSums()
            sums.load_state_dict(state)
    total = sums.total(["loss", "items", "never"])
    assert total["loss"] == pytest.approx(wanted, rel=1e-7)  # a batch is summed in float32
    assert (total["items"], total["never"]) == (sum(int((value > 50).sum()) for value in values), 0.0)


def test_a_sum_that_is_not_finite_says_so(narrow):
    sums = EpochSums()
    for value in (1.0, math.inf, 2.0):
        sums.add(loss=torch.tensor(value))
    assert sums.total(["loss"]) == {"loss": math.inf}


def test_sums_that_a_precise_device_saved_lose_nothing(narrow):
    sums = EpochSums()
    sums.load_state_dict({"loss": torch.tensor(2.0**30 + 0.25, dtype=torch.float64)})
    sums.add(loss=torch.tensor(0.5))
    assert sums.total(["loss"]) == {"loss": 2.0**30 + 0.75}


def test_sdr_is_computed_in_float64_all_the_same(narrow, monkeypatch):
    random = torch.Generator().manual_seed(0)
    targets = torch.randn(2, 2, 3000, generator=random)
    est, perm = targets.flip(1) + 0.1 * torch.randn(2, 2, 3000, generator=random), torch.tensor([[1, 0], [1, 0]])
    got = filtered_sdr(est, targets, perm)
    assert got.dtype == torch.float32
    monkeypatch.undo()
    torch.testing.assert_close(got, filtered_sdr(est, targets, perm).float(), rtol=0, atol=0)


@pytest.mark.slow
def test_all_parts_of_a_training_run_without_float64():
    path = os.pathsep.join([str(ROOT / "tests" / "plugins"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "plugins" / "on_stand_in.py")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) > 25
    failed = {name: on for name, on in found.items() if any(isinstance(figures, str) for figures in on.values())}
    assert not failed, "\n".join(f"{name}: {on}" for name, on in failed.items())
    for name, on in found.items():
        assert on["standin"].keys() == on["cpu"].keys()
        for figure, wanted in on["cpu"].items():
            assert on["standin"][figure] == pytest.approx(wanted, rel=1e-3, abs=1e-3, nan_ok=True), (name, figure)
