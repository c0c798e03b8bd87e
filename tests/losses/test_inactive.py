"""The loss of silent targets against its equations in float64, and in exact PIT."""

import itertools
import math

import pytest
import torch

from asteroid_stab.losses import ExactPITLossWrapper, PairwiseNegInactiveSNR, SinkPITLossWrapper

MAX_DB = 25.0
TAU = 10 ** (-MAX_DB / 10)


def batch(n_items=2, n_src=3, n_samples=50, silent=((0, 1), (1, 0), (1, 2)), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    est, targets = (torch.randn(n_items, n_src, n_samples, generator=generator, dtype=torch.float64) for _ in range(2))
    for item, source in silent:
        targets[item, source] = 0
    return est.to(dtype), targets.to(dtype)


def reference(est, targets, weight=1.0):
    """Every pair by itself, from the definition."""
    n_items, n_src, _ = targets.shape
    losses = torch.zeros(n_items, n_src, n_src, dtype=torch.float64)
    for b, i, j in itertools.product(range(n_items), range(n_src), range(n_src)):
        s, e, x = targets[b, j].double(), est[b, i].double(), targets[b].double().sum(0)
        if s.any():
            losses[b, i, j] = 10 * math.log10(float((s - e) @ (s - e) / (s @ s)) + TAU)
        else:
            losses[b, i, j] = weight * 10 * math.log10(float(e @ e / (x @ x)) + TAU)
    return losses


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_it_is_the_thresholded_snr_or_the_level_of_the_estimate(weight):
    est, targets = batch()
    torch.testing.assert_close(PairwiseNegInactiveSNR(MAX_DB, weight)(est, targets), reference(est, targets, weight))


def test_half_precision_is_computed_in_float32():
    est, targets = batch(dtype=torch.bfloat16)
    found = PairwiseNegInactiveSNR(MAX_DB)(est, targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), reference(est, targets), atol=1e-3, rtol=0)


def test_its_gradient():
    est, targets = batch(n_samples=6)
    assert torch.autograd.gradcheck(PairwiseNegInactiveSNR(MAX_DB), (est.requires_grad_(), targets))


def test_a_silent_estimate_and_a_perfect_one_have_finite_gradients():
    targets = batch()[1]
    est = targets.clone().requires_grad_()
    loss = PairwiseNegInactiveSNR(MAX_DB)(est, targets).diagonal(dim1=1, dim2=2)
    loss.sum().backward()
    torch.testing.assert_close(loss.detach(), torch.full_like(loss, -MAX_DB))
    assert torch.isfinite(est.grad).all()


@pytest.mark.parametrize("wrapper", [ExactPITLossWrapper, SinkPITLossWrapper])
def test_the_estimates_of_silent_targets_get_a_gradient(wrapper):
    est, targets = batch()
    est.requires_grad_()
    loss_func = wrapper(PairwiseNegInactiveSNR(MAX_DB))
    assert loss_func.judges_silence
    assigned = loss_func.assign(est, targets)
    assert torch.isfinite(assigned.loss).all()
    assigned.loss.sum().backward()
    assert (est.grad.abs().sum(-1) > 0).all()


def test_the_best_permutation_keeps_one_speaker_on_one_output():
    targets = batch(n_items=1, silent=[(0, 1)])[1]
    twice = targets[:, [2, 0, 0]].clone()
    once = targets[:, [2, 0, 1]].clone()
    loss_func = ExactPITLossWrapper(PairwiseNegInactiveSNR(MAX_DB))
    (worse, _), (better, perm) = loss_func.assign(twice, targets), loss_func.assign(once, targets)
    assert perm.tolist() == [[1, 2, 0]]
    torch.testing.assert_close(better, torch.full_like(better, -MAX_DB))
    assert worse[0, 1] > better[0, 1] + 15


def test_an_item_without_any_source_has_no_loss_and_leaves_the_others_alone():
    est, targets = batch()
    alone = ExactPITLossWrapper(PairwiseNegInactiveSNR()).assign(est[:1], targets[:1]).loss
    targets[1] = 0
    est.requires_grad_()
    loss = ExactPITLossWrapper(PairwiseNegInactiveSNR()).assign(est, targets).loss
    assert torch.isinf(loss[1]).all()
    torch.testing.assert_close(loss[:1], alone)
    loss[0].sum().backward()
    assert torch.isfinite(est.grad).all()
    assert not est.grad[1].any()


@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan, True])
@pytest.mark.parametrize("name", ["max_snr_db", "silent_weight"])
def test_settings_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a number above 0, got {value}"):
        PairwiseNegInactiveSNR(**{name: value})
