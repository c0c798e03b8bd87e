"""The loss threshold against its rule, written out."""

import math

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.losses import ExactPITLossWrapper
from asteroid_stab.stabilizers import LossThreshold, Reweighting, Stabilization

J, B = 3, 6


def batch(seed=0, best_db=40.0):
    random = torch.Generator().manual_seed(seed)
    targets = torch.randn(B, J, 200, generator=random, dtype=torch.float64)
    noise = torch.randn(B, J, 200, generator=random, dtype=torch.float64)
    levels = 10 ** (-torch.linspace(0, best_db, B, dtype=torch.float64) / 20)
    return (targets.roll(1, 1) + levels.view(-1, 1, 1) * noise).requires_grad_(), targets


def step(stabilizers, est, targets):
    stab = Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr), stabilizers)
    stab.begin_epoch(0)
    loss = stab(est, targets, targets.sum(1))
    (grad,) = torch.autograd.grad(loss, est)
    return loss, grad, stab


@pytest.mark.parametrize("threshold", [-30.0, -10.0, -25.0])
def test_it_is_the_mean_over_the_losses_above(threshold):
    est, targets = batch()
    losses = ExactPITLossWrapper(pairwise_neg_sisdr).assign(est, targets).loss.mean(1)
    above = losses[losses > threshold]
    assert 0 < len(above) < B
    loss, grad, stab = step([LossThreshold(threshold)], est, targets)
    torch.testing.assert_close(loss, above.mean())
    torch.testing.assert_close(grad, torch.autograd.grad(above.mean(), est)[0])
    assert stab.end_epoch()["above_threshold"] == len(above) / B


def test_nothing_is_left_of_a_batch_that_is_good_enough():
    est, targets = batch()
    loss, grad, stab = step([LossThreshold(100.0)], est, targets)
    assert stab.nothing_left
    assert not grad.any()
    assert torch.isfinite(loss)
    assert stab.end_epoch()["above_threshold"] == 0


def test_it_goes_with_reweighting():
    est, targets = batch()
    losses = ExactPITLossWrapper(pairwise_neg_sisdr).assign(est, targets).loss.mean(1)
    kept = (losses > -20).detach()
    weights = torch.softmax(0.1 * losses.detach()[kept], 0)
    loss, _, _ = step([LossThreshold(-20.0), Reweighting(0.1, level="mixture", improvement=False)], est, targets)
    torch.testing.assert_close(loss, (weights * losses[kept]).sum())


@pytest.mark.parametrize("threshold", [math.inf, math.nan, True])
def test_a_threshold_that_is_none(threshold):
    with pytest.raises(ValueError, match=f"threshold must be a number, or -inf to keep all items, got {threshold}"):
        LossThreshold(threshold)


def test_a_neutral_threshold_says_so():
    assert LossThreshold().neutral(None) == "threshold=-inf keeps all items"
    assert LossThreshold(-30).neutral(None) is None
