"""The direct negative SDR of matched pairs: values as Asteroid's at any SDR, and the gradient written out."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from asteroid.losses.sdr import MultiSrcNegSDR, PairwiseNegSDR

from asteroid_stab.losses.assignment import pick
from asteroid_stab.losses.matched import matched_neg_sdr
from asteroid_stab.losses.pairwise import SDR_TYPES, SdrOptions, inner_products, prepare_signals

ALL_OPTIONS = [SdrOptions(*flags) for flags in itertools.product(SDR_TYPES, (True, False), (True, False))]
CYCLE = torch.tensor([[1, 2, 0], [0, 2, 1], [2, 0, 1]])


def batch(snr_db=10.0, n_samples=400, dtype=torch.float32):
    """Estimates at ``snr_db`` to which ``CYCLE`` gives the targets."""
    random = torch.Generator().manual_seed(1)
    targets = torch.randn(3, 3, n_samples, generator=random, dtype=torch.float64)
    est = torch.empty_like(targets)
    for item, perm in enumerate(CYCLE):
        est[item, perm] = targets[item]
    est += 10 ** (-snr_db / 20) * torch.randn(est.shape, generator=random, dtype=torch.float64)
    return est.to(dtype), targets.to(dtype)


def asteroid(options):
    return PairwiseNegSDR(options.sdr_type, options.zero_mean, options.take_log, options.eps)


def gradients(losses, *signals):
    """Gradients of losses that are weighted unequally, so that a wrong order shows."""
    weights = torch.linspace(0.5, 2, losses.numel(), dtype=losses.dtype).view(losses.shape)
    return torch.autograd.grad((losses * weights).sum(), signals)


@pytest.mark.parametrize("snr_db", [-20, 10, 40, 60, 80])
@pytest.mark.parametrize("options", ALL_OPTIONS, ids=str)
def test_values_and_gradients_equal_asteroids(options, snr_db):
    est, targets = batch(snr_db, n_samples=8000)
    est.requires_grad_(), targets.requires_grad_()
    mine = matched_neg_sdr(est, targets, CYCLE, options)
    theirs = pick(asteroid(options)(est, targets), CYCLE)
    # A bare ratio of 80 dB has lost more digits than its logarithm, on both sides.
    rtol = 1e-4 if snr_db == 80 and not options.take_log else 1e-5
    torch.testing.assert_close(mine, theirs, rtol=rtol, atol=1e-5)
    # In float32 neither side's gradient is better than the residual's digits: 60 dB cost three of seven.
    wide = [signal.detach().double().requires_grad_() for signal in (est, targets)]
    exact = gradients(pick(asteroid(options)(*wide), CYCLE), *wide)
    digits = 1e-6 * max(1, 10 ** (snr_db / 20))
    for gradient, reference in zip(gradients(mine, est, targets), exact, strict=True):
        assert (gradient - reference).norm() < digits * reference.norm()


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=str)
def test_equals_autograd_in_float64(options):
    est, targets = batch(60, dtype=torch.float64)
    est.requires_grad_(), targets.requires_grad_()
    mine, theirs = matched_neg_sdr(est, targets, CYCLE, options), asteroid(options)(est, targets)
    theirs = pick(theirs, CYCLE)
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)
    for a, b in zip(gradients(mine, est, targets), gradients(theirs, est, targets), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("eps", [1e-8, 0.1])  # with 0.1 the terms that EPS leaves count
@pytest.mark.parametrize("options", ALL_OPTIONS, ids=str)
def test_gradcheck(options, eps):
    est, targets = (signal[:1] for signal in batch(n_samples=6, dtype=torch.float64))
    options = SdrOptions(options.sdr_type, options.zero_mean, options.take_log, eps)
    strided = est.transpose(0, 2).contiguous().transpose(0, 2).requires_grad_()
    targets.requires_grad_()
    assert torch.autograd.gradcheck(lambda e, t: matched_neg_sdr(e, t, CYCLE[:1], options), (strided, targets))
    assert torch.autograd.gradcheck(lambda e: matched_neg_sdr(e, targets.detach(), None, options), (strided,))


def test_without_permutation_estimates_and_targets_are_in_order():
    est, targets = batch()
    order = torch.arange(3).expand(3, 3)
    assert torch.equal(matched_neg_sdr(est, targets), matched_neg_sdr(est, targets, order))
    torch.testing.assert_close(matched_neg_sdr(est, targets).mean(1), MultiSrcNegSDR("sisdr")(est, targets))


@pytest.mark.parametrize("perm", [CYCLE, None])
def test_prepared_signals_give_the_same(perm):
    est, targets = batch()
    signals = prepare_signals(est, targets)
    prepared = signals, inner_products(signals)
    torch.testing.assert_close(
        matched_neg_sdr(est, targets, perm, prepared=prepared), matched_neg_sdr(est, targets, perm)
    )


@pytest.mark.parametrize("zero_mean", [True, False])
def test_input_is_left_as_it_was(zero_mean):
    est, targets = batch()
    matched_neg_sdr(est.requires_grad_(), targets, CYCLE, SdrOptions(zero_mean=zero_mean)).sum().backward()
    assert torch.equal(est, batch()[0])
    assert torch.equal(targets, batch()[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(dtype):
    est, targets = (signal.to(dtype) for signal in batch())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = matched_neg_sdr(est.requires_grad_(), targets, CYCLE)
    wide = est.detach().float().requires_grad_()
    reference = matched_neg_sdr(wide, targets.float(), CYCLE)
    assert torch.equal(losses, reference)
    (gradient,), (expected,) = gradients(losses, est), gradients(reference, wide)
    assert gradient.dtype == dtype
    assert torch.equal(gradient, expected.to(dtype))


def test_two_signals_are_kept_for_the_gradient():
    est, targets = batch(n_samples=5000)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        matched_neg_sdr(est.requires_grad_(), targets, CYCLE)
    assert sorted(kept)[-3:] == [9, est.numel(), est.numel()]
    kept.clear()
    with torch.no_grad():
        assert not matched_neg_sdr(est, targets, CYCLE).requires_grad
    assert kept == []


def test_backward_twice_over_one_graph():
    est, targets = batch()
    losses = matched_neg_sdr(est.requires_grad_(), targets, CYCLE)
    (first,) = torch.autograd.grad(losses.sum(), est, retain_graph=True)
    (second,) = torch.autograd.grad(losses.sum(), est)
    assert torch.equal(first, second)


def test_second_derivative_is_refused():
    est, targets = batch()
    losses = matched_neg_sdr(est.requires_grad_(), targets, CYCLE)
    with pytest.raises(RuntimeError, match="differentiable once: create_graph must be False, got True"):
        torch.autograd.grad(losses.sum(), est, create_graph=True)


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=str)
@pytest.mark.parametrize("eps", [1e-8, 0.0])
def test_undefined_losses_have_no_gradient_whatever_comes_from_above(options, eps):
    options = SdrOptions(options.sdr_type, options.zero_mean, options.take_log, eps)
    est, targets = batch()
    targets[0, 1] = 0.0
    est[1, 2, 5] = math.nan
    est.requires_grad_(), targets.requires_grad_()
    losses = matched_neg_sdr(est, targets, CYCLE, options)
    assert losses[0].isnan().tolist() == [False, True, False]
    assert losses[1].tolist() == [math.inf] * 3
    assert losses[2].isfinite().all()
    above = torch.where(losses.isfinite(), 1.0, math.nan)
    of_est, of_targets = torch.autograd.grad(losses, (est, targets), above)
    assert of_est.isfinite().all()
    assert of_targets.isfinite().all()
    assert not of_est[1].any()
    assert not of_targets[1].any()
    assert not of_targets[0, 1].any()
    assert not of_est[0, CYCLE[0, 1]].any()

    clean_est, clean_targets = (signal.requires_grad_() for signal in batch())
    clean = matched_neg_sdr(clean_est, clean_targets, CYCLE, options)
    assert torch.equal(losses[2], clean[2])
    expected = torch.autograd.grad(clean.sum(), clean_est)[0]
    assert torch.equal(of_est[2], expected[2])
    assert torch.equal(of_est[0, CYCLE[0, [0, 2]]], expected[0, CYCLE[0, [0, 2]]])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", ["est", "targets"])
def test_every_kind_of_non_finite_value_is_found(bad, which):
    signals = dict(zip(("est", "targets"), batch(), strict=True))
    signals[which][2, 0, 17] = bad
    losses = matched_neg_sdr(signals["est"], signals["targets"], CYCLE)
    assert losses.isinf().all(1).tolist() == [False, False, True]
    assert losses.isfinite().all(1).tolist() == [True, True, False]


def test_silent_estimate_is_a_loss_like_any_other():
    est, targets = batch()
    est[0, 1] = 0.0
    losses = matched_neg_sdr(est.requires_grad_(), targets, CYCLE)
    assert losses[0, 0].item() == pytest.approx(80, abs=1e-3)  # Asteroid's plateau
    losses.sum().backward()
    assert est.grad.isfinite().all()


def test_wrong_shapes_are_refused():
    est, targets = batch()
    with pytest.raises(ValueError, match=r"perm must be \[3, 3\], got \[3\]"):
        matched_neg_sdr(est, targets, CYCLE[0])
    with pytest.raises(ValueError, match=r"shaped as targets, \[3, 3, 400\], got \[2, 3, 400\]"):
        matched_neg_sdr(est[1:], targets, CYCLE)
