"""The methods of bench step: each does something, and none is left out."""

import math

import pytest

from asteroid_stab.losses import ExactPITLossWrapper
from asteroid_stab.run.plan import RunPlan
from bench import methods as module
from bench.methods import PLAIN, calls, methods


def test_each_method_changes_something_or_watches():
    for name, (loss, parts) in methods().items():
        active = parts[0] if parts else loss
        assert active.neutral(RunPlan(2, loss=loss, max_epochs=9)) is None
        assert (type(loss) is ExactPITLossWrapper) == (bool(parts) or name == PLAIN)


@pytest.mark.parametrize("n_src", [2, 4])
def test_the_calls_compute_steps_of_items_that_are_remembered(n_src, monkeypatch):
    monkeypatch.setattr(module, "N_ITEMS", 50)
    one = module.methods()
    monkeypatch.setattr(module, "methods", lambda: one)
    of_one = calls(3, n_src, 400, "cpu")
    assert of_one.keys() == one.keys()
    for call in of_one.values():
        call()
    (loss, _), (_, [weights]), (_, [data_map]) = one["hysteresis"], one["map weights"], one["map alone"]
    assert (loss.banks[-1].perm >= 0).all(1).sum() == 3
    assert weights._centre is not None
    assert all(math.isfinite(value) for value in weights._centre)
    assert sorted(data_map.table[:, 0].tolist())[-3:] == [4, 4, 4]
