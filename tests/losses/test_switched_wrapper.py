"""Losses that follow each other."""

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.items import Items
from asteroid_stab.losses import (
    AttentionPITLossWrapper,
    ExactPITLossWrapper,
    ExponentialSchedule,
    FixedPITLossWrapper,
    SinkPITLossWrapper,
    SwitchedLossWrapper,
)


def switched():
    torch.manual_seed(0)
    phases = {
        "sink": SinkPITLossWrapper(pairwise_neg_sisdr, beta_schedule=ExponentialSchedule(1.02, most=10.0)),
        "attention": AttentionPITLossWrapper(pairwise_neg_sisdr, 3, weight_schedule=ExponentialSchedule(1.05, -1.0)),
    }
    return SwitchedLossWrapper(phases, {"sink": 3, "attention": 0})


def signals():
    random = torch.Generator().manual_seed(0)
    return torch.randn(4, 3, 100, generator=random), torch.randn(4, 3, 100, generator=random)


@pytest.mark.parametrize("epoch", [0, 2, 3, 50])
def test_it_is_the_phase_of_the_epoch(epoch):
    loss_func = switched()
    loss_func.set_epoch(7)  # and back: a phase is a function of the epoch alone
    loss_func.set_epoch(epoch)
    active = loss_func.phases["attention" if epoch < 3 else "sink"]
    est, targets = signals()
    assigned, wanted = loss_func.assign(est, targets), active.assign(est, targets)
    for got, expected in zip(assigned, wanted, strict=True):
        torch.testing.assert_close(got, expected)
    assert assigned.figures == wanted.figures
    assert assigned.neg_si_sdr is None
    if epoch < 3:
        assert active.regularization_weight == pytest.approx(1.05**epoch - 1)
    else:
        assert active.beta == pytest.approx(1.02**epoch)


def test_a_loss_that_is_over_gets_zero_gradients_and_is_trained_no_more():
    loss_func = switched()
    encoder = set(loss_func.parameters())
    assert set(loss_func.trained_parameters()) == encoder
    loss_func.set_epoch(3)
    assert loss_func.trained_parameters() == []
    est, targets = signals()
    loss_func(est.requires_grad_(), targets).backward()
    assert all((p.grad == 0).all() for p in encoder)
    assert est.grad.abs().sum() > 0


def test_a_loss_to_come_is_not_trained_yet():
    later = AttentionPITLossWrapper(pairwise_neg_sisdr, 3)
    loss_func = SwitchedLossWrapper(
        {"pit": ExactPITLossWrapper(pairwise_neg_sisdr), "attention": later}, {"pit": 0, "attention": 2}
    )
    assert loss_func.trained_parameters() == []
    loss_func.set_epoch(2)
    assert set(loss_func.trained_parameters()) == set(later.parameters())


def test_schedules_can_count_from_the_phases_first_epoch():
    loss_func = switched()
    loss_func.restart_schedules = True
    loss_func.set_epoch(5)
    assert loss_func.active.beta == pytest.approx(1.02**2)


def test_a_broken_loss_that_is_over_spoils_nothing():
    loss_func = switched()
    loss_func.set_epoch(3)
    with torch.no_grad():
        next(loss_func.parameters()).fill_(float("nan"))
    est, targets = signals()
    loss = loss_func(est.requires_grad_(), targets)
    loss.backward()
    assert loss.isfinite()
    assert all((p.grad == 0).all() for p in loss_func.parameters())


def test_it_remembers_items_if_a_phase_does(tmp_path):
    assert not switched().remembers_items
    bound = []

    class Remembering(FixedPITLossWrapper):
        remembers_items = True

        def bind(self, items):
            bound.append(items)

    phases = {"fixed": Remembering(pairwise_neg_sisdr), "pit": ExactPITLossWrapper(pairwise_neg_sisdr)}
    loss_func = SwitchedLossWrapper(phases, {"fixed": 0, "pit": 1})
    assert loss_func.remembers_items
    items = Items(1, ["a"], "f")
    loss_func.bind(items)
    assert bound == [items]


@pytest.mark.parametrize(
    ("first_epoch", "message"),
    [({"a": 0}, "same names"), ({"a": 1, "b": 2}, "begin with epoch 0"), ({"a": 0, "b": 0}, "no two together")],
)
def test_phases_that_do_not_fit_are_refused(first_epoch, message):
    phases = {"a": ExactPITLossWrapper(pairwise_neg_sisdr), "b": SinkPITLossWrapper(pairwise_neg_sisdr)}
    with pytest.raises(ValueError, match=message):
        SwitchedLossWrapper(phases, first_epoch)
