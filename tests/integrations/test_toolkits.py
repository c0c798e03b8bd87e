"""One training in every toolkit: on the same data, in the same order, from the same weights, it is StabSystem's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import toolkit_loops
import torch
from toolkit_loops import EPOCHS, TOOLKITS
from torch.utils._pytree import tree_leaves

pytestmark = pytest.mark.toolkits

PROGRAM = Path(toolkit_loops.__file__)


@pytest.fixture(autouse=True)
def _noise(monkeypatch):
    toolkit_loops.use_noise(monkeypatch.setattr)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        toolkit_loops.use_noise(patch.setattr)
        return toolkit_loops.system(tmp_path_factory.mktemp("system"))


def assert_same_rows(rows, wanted):
    assert len(rows) == len(wanted) == EPOCHS
    for row, of_system in zip(rows, wanted, strict=True):
        assert row == pytest.approx({name: of_system[name] for name in row}, abs=1e-5)
        assert {*of_system} - {*row} <= {"switch_ratio"}


def assert_same_weights(weights, wanted, atol=0.0):
    assert weights.keys() == wanted.keys()
    for name in wanted:
        assert torch.allclose(weights[name], wanted[name], rtol=0.0, atol=atol), name


def test_the_reference_switches_and_drops(reference):
    """Else the comparison would say nothing."""
    assert sum(row["switch_ratio"] > 0 for row in reference.rows[1:]) >= 2
    assert any(row["kept"] < 1 for row in reference.rows[1:])


@pytest.mark.parametrize("toolkit", TOOLKITS)
def test_one_training_is_the_systems(toolkit, reference, tmp_path):
    result = TOOLKITS[toolkit](tmp_path)
    assert_same_rows(result.rows, reference.rows)
    assert toolkit == "lightning" or all("switch_ratio" in row for row in result.rows[1:])  # Lightning: a callback's
    assert_same_weights(result.weights, reference.weights)
    for name, state in reference.stabilizers.items():  # what sample dropout keeps by: assignment and loss of each item
        own, its = tree_leaves(result.stabilizers[name]), tree_leaves(state)
        assert len(own) == len(its)
        assert all(
            torch.allclose(torch.as_tensor(a), torch.as_tensor(b), equal_nan=True)
            for a, b in zip(own, its, strict=True)
            if not isinstance(a, str)
        )


@pytest.mark.parametrize("toolkit", TOOLKITS)
def test_it_goes_on_from_the_toolkits_own_checkpoint(toolkit, reference, tmp_path):
    first = TOOLKITS[toolkit](tmp_path, epochs=1)
    rest = TOOLKITS[toolkit](tmp_path)
    assert_same_rows(first.rows + rest.rows, reference.rows)
    assert_same_weights(rest.weights, reference.weights)


@pytest.fixture(scope="module")
def on_two_ranks(tmp_path_factory):
    def train(toolkit):
        folder = tmp_path_factory.mktemp(toolkit)
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROGRAM.parent), "GLOO_SOCKET_IFNAME": "lo"}
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--nnodes=1"]
        command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", str(PROGRAM), toolkit, str(folder)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
        return torch.load(folder / f"{toolkit}.pt", weights_only=True)

    return train


@pytest.fixture(scope="module")
def reference_on_two(on_two_ranks):
    return on_two_ranks("system")


@pytest.mark.parametrize("toolkit", TOOLKITS)
def test_two_ranks_that_go_on_are_the_system_on_two(toolkit, on_two_ranks, reference_on_two):
    result = on_two_ranks(toolkit)
    assert_same_rows(result["rows"], reference_on_two["rows"])
    assert_same_weights(result["weights"], reference_on_two["weights"], atol=1e-5)
