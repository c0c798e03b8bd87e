"""The base of the losses: what a subclass must write, may not write, and gets."""

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr
from asteroid.losses.mse import PairwiseMSE
from noisy_batch import noisy_batch

from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.losses import Assignment, ProbPITLossWrapper
from asteroid_stab.losses.base_wrapper import AssignmentLossWrapper
from asteroid_stab.run.plan import RunPlan


class InOrder(AssignmentLossWrapper):
    """The order given; notes what its hooks are called with."""

    def __init__(self, remembers_items=False):
        super().__init__(PairwiseMSE())
        self.remembers, self.called = remembers_items, []
        self.scale = torch.nn.Parameter(torch.ones(()))

    def _assign(self, est_targets, targets, pair_loss, ids):
        self.called.append(("assign", ids))
        order = torch.arange(targets.shape[1]).expand(targets.shape[:2])
        return Assignment(self.scale * pair_loss.in_order(est_targets, targets), order)

    @property
    def remembers_items(self):
        return self.remembers

    def check(self, plan):
        self.called.append(("check", plan))

    def bind(self, items):
        self.called.append(("bind", items))

    def set_epoch(self, epoch):
        self.called.append(("set_epoch", epoch))


class Sum(AssignmentLossWrapper):
    """A loss of two parts with a parameter of its own, which overrides no hook."""

    def __init__(self, first, second):
        super().__init__(first.loss_func)
        self.first, self.second = first, second
        self.own = torch.nn.Parameter(torch.ones(()))

    def parts(self):
        return self.first, self.second

    def _assign(self, est_targets, targets, pair_loss, ids):
        first, second = (part.assign(est_targets, targets, ids) for part in self.parts())
        return Assignment(self.own * first.loss + second.loss, second.perm)


def test_a_subclass_needs_one_method():
    est, targets = noisy_batch()
    value, ordered = InOrder()(est, targets, return_est=True)
    torch.testing.assert_close(value, (est - targets).square().mean())
    assert torch.equal(ordered, est)
    with pytest.raises(TypeError, match=r"abstract.*_assign"):
        AssignmentLossWrapper(PairwiseMSE())


def test_assign_is_final():
    message = r"{} must not override assign\(\), which checks its arguments for all losses: write _assign\("

    class Mixin:
        def assign(self, est_targets, targets, ids=None):
            return None

    with pytest.raises(TypeError, match=message.format("Direct")):

        class Direct(AssignmentLossWrapper):
            def assign(self, est_targets, targets, ids=None):
                return None

    with pytest.raises(TypeError, match=message.format("Mixed")):

        class Mixed(Mixin, ProbPITLossWrapper):
            pass


def test_the_hooks_ask_every_part():
    loss = Sum(InOrder(), InOrder(remembers_items=True))
    plan, items = RunPlan(3), Items(4)
    assert loss.remembers_items
    loss.check(plan)
    loss.bind(items)
    loss.set_epoch(5)
    assert loss.first.called == [("check", plan), ("set_epoch", 5)]  # one that remembers nothing is not bound
    assert loss.second.called == [("check", plan), ("bind", items), ("set_epoch", 5)]
    assert not Sum(InOrder(), InOrder()).remembers_items
    assert loss.trained_parameters() == [loss.own, loss.first.scale, loss.second.scale]
    loss.first.scale.requires_grad_(False)
    assert loss.trained_parameters() == [loss.own, loss.second.scale]


def test_the_ids_reach_every_part():
    loss, ids = Sum(InOrder(), InOrder()), torch.tensor([3, 1, 2, 0])
    loss.assign(*noisy_batch(), ids)
    assert loss.first.called[0][1] is loss.second.called[0][1] is ids


def test_a_part_refuses_for_the_whole():
    loss = Sum(InOrder(), ProbPITLossWrapper(pairwise_neg_sisdr))
    with pytest.raises(StabError, match="n_src must be at most 7, got 8"):
        loss.check(RunPlan(8))
    with pytest.raises(ValueError, match="as many sources as targets, 3, got 2"):
        loss.assign(*(signal[:, :n] for signal, n in zip(noisy_batch(), (2, 3), strict=True)))
