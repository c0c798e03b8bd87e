"""The exact wrapper against Asteroid's on regular input, and against its promises on the rest."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr
from asteroid.losses.mse import PairwiseMSE, multisrc_mse, singlesrc_mse
from asteroid.losses.sdr import MultiSrcNegSDR, PairwiseNegSDR, SingleSrcNegSDR
from noisy_batch import noisy_batch

from asteroid_stab.losses import ExactPITLossWrapper

NAN, INF = math.nan, math.inf
pairwise_mse = PairwiseMSE()
SDR_LOSSES = {"pw_mtx": PairwiseNegSDR, "pw_pt": SingleSrcNegSDR, "perm_avg": MultiSrcNegSDR}
MSE_LOSSES = {"pw_mtx": pairwise_mse, "pw_pt": singlesrc_mse, "perm_avg": multisrc_mse}


def assert_same_as_asteroid(mine, theirs, est, targets, **kwargs):
    """Compares value, gradients of both arguments and reordered estimates; returns the first side's."""
    results = []
    for wrapper in (mine, theirs):
        e, t = est.clone().requires_grad_(), targets.clone().requires_grad_()
        value, ordered = wrapper(e, t, return_est=True, **kwargs)
        assert torch.equal(wrapper(e, t, **kwargs), value)
        results.append((value, *torch.autograd.grad(value, (e, t)), ordered))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * b.detach().abs().max().item())
    return results[0]


def asteroid_in_place_of_its_wrapper(loss_func, est, targets, return_est=False):
    """What Asteroid's wrapper does to a pairwise loss, where it refuses the number of sources."""
    loss, perm = PITLossWrapper.find_best_perm(loss_func(est, targets))
    ordered = PITLossWrapper.reorder_source(est, perm)
    return (loss.mean(), ordered) if return_est else loss.mean()


@pytest.mark.parametrize("sdr_type", ["sisdr", "sdsdr", "snr"])
@pytest.mark.parametrize("pit_from", ["pw_mtx", "pw_pt"])
@pytest.mark.parametrize("n_src", range(1, 10))
def test_equals_asteroid_with_its_sdr_losses(pit_from, n_src, sdr_type):
    loss_func = SDR_LOSSES[pit_from](sdr_type)
    assert_same_as_asteroid(
        ExactPITLossWrapper(loss_func, pit_from),
        PITLossWrapper(loss_func, pit_from),
        *noisy_batch(n_src, shape=(300,)),
    )


@pytest.mark.parametrize("zero_mean", [True, False])
@pytest.mark.parametrize("take_log", [True, False])
@pytest.mark.parametrize("eps", [1e-8, 1e-3])
def test_equals_asteroid_with_every_option(zero_mean, take_log, eps):
    loss_func = PairwiseNegSDR("sisdr", zero_mean, take_log, eps)
    est, targets = noisy_batch(3)
    assert_same_as_asteroid(ExactPITLossWrapper(loss_func), PITLossWrapper(loss_func), est + 0.3, targets - 0.2)


@pytest.mark.parametrize("n_src", range(1, 6))
@pytest.mark.parametrize("sdr_type", ["sisdr", "sdsdr", "snr"])
def test_equals_asteroid_with_its_sdr_losses_of_an_order(n_src, sdr_type):
    loss_func = MultiSrcNegSDR(sdr_type)
    mine, theirs = (wrapper(loss_func, "perm_avg") for wrapper in (ExactPITLossWrapper, PITLossWrapper))
    assert_same_as_asteroid(mine, theirs, *noisy_batch(n_src))


@pytest.mark.parametrize("n_src", range(6, 10))
def test_equals_asteroid_with_the_sdr_of_an_order_of_many(n_src):
    """Asteroid would compute the loss n_src! times; the mean of its pairwise losses is the same number."""
    mine = ExactPITLossWrapper(MultiSrcNegSDR("sisdr"), "perm_avg")
    assert_same_as_asteroid(mine, PITLossWrapper(pairwise_neg_sisdr), *noisy_batch(n_src))


@pytest.mark.parametrize("pit_from", ["pw_mtx", "pw_pt", "perm_avg"])
@pytest.mark.parametrize("n_src", range(1, 6))
def test_equals_asteroid_with_any_other_loss(pit_from, n_src):
    loss_func = MSE_LOSSES[pit_from]
    mine, theirs = (wrapper(loss_func, pit_from) for wrapper in (ExactPITLossWrapper, PITLossWrapper))
    assert_same_as_asteroid(mine, theirs, *noisy_batch(n_src))


@pytest.mark.parametrize("pit_from", ["pw_mtx", "pw_pt"])
@pytest.mark.parametrize("n_src", range(6, 10))
def test_equals_asteroid_with_any_other_pairwise_loss_of_many(pit_from, n_src):
    loss_func = MSE_LOSSES[pit_from]
    mine, theirs = (wrapper(loss_func, pit_from) for wrapper in (ExactPITLossWrapper, PITLossWrapper))
    assert_same_as_asteroid(mine, theirs, *noisy_batch(n_src))


def test_equals_asteroid_with_an_order_of_six():
    mine, theirs = (wrapper(multisrc_mse, "perm_avg") for wrapper in (ExactPITLossWrapper, PITLossWrapper))
    assert_same_as_asteroid(mine, theirs, *noisy_batch(6, n_items=2, shape=(20,)))


@pytest.mark.parametrize("pit_from", ["pw_pt", "perm_avg"])
def test_equals_asteroid_with_spectrograms(pit_from):
    loss_func = MSE_LOSSES[pit_from]
    mine, theirs = (wrapper(loss_func, pit_from) for wrapper in (ExactPITLossWrapper, PITLossWrapper))
    *_, ordered = assert_same_as_asteroid(mine, theirs, *noisy_batch(3, shape=(17, 9)))
    assert ordered.shape == (4, 3, 17, 9)


def weighted(losses, weights):
    """A reduction in which sources count unequally: [B, n_src!, n_src] to [B, n_src!]."""
    return (losses * weights.unsqueeze(1)).sum(-1)


@pytest.mark.parametrize(
    ("losses", "pit_from", "n_src"),
    [
        *((losses, "pw_mtx", n_src) for losses in (SDR_LOSSES, MSE_LOSSES) for n_src in range(1, 8)),
        *((MSE_LOSSES, "pw_mtx", n_src) for n_src in (8, 9)),
        *((losses, "pw_pt", 3) for losses in (SDR_LOSSES, MSE_LOSSES)),
    ],
)
def test_equals_asteroid_with_a_reduction(losses, pit_from, n_src):
    loss_func = losses[pit_from]("sisdr") if losses is SDR_LOSSES else losses[pit_from]
    est, targets = noisy_batch(n_src, n_items=2)
    weights = torch.rand(2, n_src, generator=torch.Generator().manual_seed(1)) ** 4
    mine, theirs = (w(loss_func, pit_from, perm_reduce=weighted) for w in (ExactPITLossWrapper, PITLossWrapper))
    assert_same_as_asteroid(mine, theirs, est, targets, reduce_kwargs={"weights": weights})
    assert mine.perm_reduce is weighted  # a call leaves nothing behind


def test_keyword_arguments_reach_the_loss():
    def loss_func(est, targets, power):
        return (est - targets).abs().pow(power).mean(-1)

    mine, theirs = (wrapper(loss_func, "pw_pt") for wrapper in (ExactPITLossWrapper, PITLossWrapper))
    cubic, *_ = assert_same_as_asteroid(mine, theirs, *noisy_batch(), power=3)
    assert cubic != mine(*noisy_batch(), power=2)


@pytest.mark.parametrize("n_src", [10, 20, 100])
def test_many_sources(n_src):
    est, targets = noisy_batch(n_src, n_items=2, shape=(200,))
    mine = ExactPITLossWrapper(pairwise_neg_sisdr)
    theirs = partial(asteroid_in_place_of_its_wrapper, pairwise_neg_sisdr)
    with pytest.raises(AssertionError):
        PITLossWrapper(pairwise_neg_sisdr)(est, targets)
    assert_same_as_asteroid(mine, theirs, est, targets)


def test_many_sources_with_any_other_loss():
    est, targets = noisy_batch(12, n_items=2, shape=(50,))
    theirs = partial(asteroid_in_place_of_its_wrapper, pairwise_mse)
    for pit_from in ("pw_mtx", "pw_pt"):
        assert_same_as_asteroid(ExactPITLossWrapper(MSE_LOSSES[pit_from], pit_from), theirs, est, targets)


@pytest.mark.parametrize("snr_db", [60, 80])
def test_exact_above_the_accuracy_of_inner_products(snr_db):
    _, targets = noisy_batch(3, shape=(8000,))
    est = targets.roll(1, dims=1) + 10 ** (-snr_db / 20) * torch.randn_like(targets)
    loss, perm = ExactPITLossWrapper(pairwise_neg_sisdr).assign(est, targets)
    assert perm.tolist() == [[1, 2, 0]] * 4
    wide = pairwise_neg_sisdr(est.double(), targets.double()).gather(1, perm.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(loss.double(), wide, rtol=1e-5, atol=0)


class MatrixProductLoss(torch.nn.Module):
    """A pairwise loss that autocast would compute in bfloat16."""

    def forward(self, est, targets):
        return -(est @ targets.mT)


def test_autocast_is_off_around_any_loss():
    est, targets = noisy_batch()
    wrapper = ExactPITLossWrapper(MatrixProductLoss())
    expected = wrapper.assign(est, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = wrapper.assign(est, targets)
    assert torch.equal(got.loss, expected.loss)


# Signals that have no loss: see test_contract.py; here is what the others do not share


def spoilt(n_src=3):
    """Items: regular, one silent target, an estimate with nan, a target with inf, silence, regular."""
    est, targets = noisy_batch(n_src, n_items=6)
    targets[1, 0] = 0.7  # silent but for an offset
    est[2, n_src - 1, 3] = NAN
    targets[3, 0, 5] = INF
    targets[4] = 0.0
    return est, targets


@pytest.mark.parametrize("n_src", [2, 3, 5])
@pytest.mark.parametrize("pit_from", ["pw_mtx", "pw_pt", "perm_avg"])
@pytest.mark.parametrize("losses", [SDR_LOSSES, MSE_LOSSES], ids=["sdr", "mse"])
def test_items_without_a_loss_keep_their_order(losses, pit_from, n_src):
    est, targets = spoilt(n_src)
    loss_func = losses[pit_from]("sisdr") if losses is SDR_LOSSES else losses[pit_from]
    loss, perm = ExactPITLossWrapper(loss_func, pit_from).assign(est, targets)
    undefined = ~loss.isfinite().view(6, -1).any(1)
    assert undefined.tolist() == [False, False, True, True, losses is SDR_LOSSES, False]
    assert (perm[undefined] == torch.arange(n_src)).all()


def test_a_silent_target_leaves_the_choice_to_the_others():
    est, targets = noisy_batch(3)
    _, perm = ExactPITLossWrapper(pairwise_neg_sisdr).assign(est, targets)
    targets[:, 1] = 0.0
    assert torch.equal(ExactPITLossWrapper(pairwise_neg_sisdr).assign(est, targets).perm, perm)


def test_sdr_of_an_order_is_the_mean_over_defined_sources():
    est, targets = spoilt()
    loss, perm = ExactPITLossWrapper(MultiSrcNegSDR("sisdr"), "perm_avg").assign(est, targets)
    by_source = ExactPITLossWrapper(pairwise_neg_sisdr).assign(est, targets)
    assert torch.equal(perm, by_source.perm)
    expected = [
        by_source.loss[0].mean(),
        by_source.loss[1, 1:].mean(),
        INF,
        INF,
        NAN,
        by_source.loss[5].mean(),
    ]
    torch.testing.assert_close(loss, torch.tensor(expected), equal_nan=True)


@pytest.mark.parametrize("pit_from", ["pw_mtx", "pw_pt", "perm_avg"])
def test_a_loss_that_overlooks_bad_values_does_not_save_the_item(pit_from):
    def forgiving(est, targets):
        return MSE_LOSSES[pit_from](est.nan_to_num(), targets)

    est, targets = noisy_batch()
    est[:] = targets.roll(1, dims=1)  # all items but the bad one are in the order 1, 2, 0
    est[2, 0, 5] = NAN
    loss, perm = ExactPITLossWrapper(forgiving, pit_from).assign(est, targets)
    assert loss.isinf().view(4, -1).all(1).tolist() == [False, False, True, False]
    assert perm.tolist() == [[1, 2, 0], [1, 2, 0], [0, 1, 2], [1, 2, 0]]


def hostile_mse(est, targets):
    """A pairwise loss that is infinite, with a gradient of nan, for finite signals with a 7 in front."""
    losses = pairwise_mse(est, targets)
    return losses / torch.where(targets[:, 0, 0] == 7, 0.0, 1.0).view(-1, 1, 1)


def test_a_loss_that_is_not_finite_is_left_out_too():
    est, targets = noisy_batch()
    targets[0, 0, 0] = targets[2, 0, 0] = 7.0
    est.requires_grad_()
    wrapper = ExactPITLossWrapper(hostile_mse)
    loss, _ = wrapper.assign(est, targets)
    assert loss.isinf().all(1).tolist() == [True, False, True, False]
    wrapper(est, targets).backward()
    assert est.grad.isfinite().all()
    assert est.grad.flatten(1).any(1).tolist() == [False, True, False, True]


@pytest.mark.parametrize("loss_func", [pairwise_neg_sisdr, pairwise_mse], ids=["sdr", "mse"])
def test_reduction_of_items_without_a_loss(loss_func):
    est, targets = spoilt()
    est.requires_grad_()
    wrapper = ExactPITLossWrapper(loss_func, perm_reduce=lambda losses: losses.mean(-1))
    loss, perm = wrapper.assign(est, targets)
    expected = torch.tensor(
        [False, loss_func is pairwise_neg_sisdr, True, True, loss_func is pairwise_neg_sisdr, False]
    )
    assert torch.equal(~loss.isfinite(), expected)
    assert loss[2:4].isinf().all()
    assert perm[2:4].tolist() == [[0, 1, 2]] * 2
    wrapper(est, targets).backward()
    assert est.grad.isfinite().all()
    assert not est.grad[expected].any()


# Wrong use


@pytest.mark.parametrize(
    ("pit_from", "wanted"), [("pw_mtx", r"\[4, 3, 3\]"), ("pw_pt", r"\[4\]"), ("perm_avg", r"\[4\]")]
)
def test_a_loss_of_another_shape_is_refused(pit_from, wanted):
    wrapper = ExactPITLossWrapper(lambda est, targets: (est - targets).square(), pit_from)
    with pytest.raises(ValueError, match=rf"loss_func must give losses of shape .*{wanted}, got \[4"):
        wrapper(*noisy_batch(3))


def test_a_reduction_of_another_shape_is_refused():
    wrapper = ExactPITLossWrapper(pairwise_mse, perm_reduce=lambda losses: losses.mean(1))
    with pytest.raises(ValueError, match=r"perm_reduce must give .* \[4, 6\], got \[4, 3\]"):
        wrapper(*noisy_batch(3))


@pytest.mark.parametrize(
    ("pit_from", "perm_reduce"), [("pw_mtx", torch.mean), ("pw_pt", torch.mean), ("perm_avg", None)]
)
def test_factorial_searches_have_a_limit(pit_from, perm_reduce):
    wrapper = ExactPITLossWrapper(MSE_LOSSES[pit_from], pit_from, perm_reduce)
    what = "perm_reduce" if perm_reduce else "pit_from='perm_avg'"
    with pytest.raises(ValueError, match=f"{what} compares n_src! permutations: n_src must be at most 9, got 10"):
        wrapper(*noisy_batch(10))


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="pit_from must be one of pw_mtx, pw_pt, perm_avg, got 'pairwise'"):
        ExactPITLossWrapper(pairwise_neg_sisdr, pit_from="pairwise")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["highest", "high"])
@pytest.mark.parametrize("n_src", [2, 3, 6])
def test_gpu_equals_cpu(n_src, precision):
    est, targets = spoilt(n_src)
    wrapper = ExactPITLossWrapper(pairwise_neg_sisdr)
    est.requires_grad_()
    on_gpu = est.detach().cuda().requires_grad_()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)  # "high": TensorFloat32, which must not touch the loss
    try:
        values = wrapper(est, targets), wrapper(on_gpu, targets.cuda())
    finally:
        torch.set_float32_matmul_precision(before)
    torch.testing.assert_close(values[1].cpu(), values[0], rtol=1e-5, atol=1e-5)
    for value in values:
        value.backward()
    torch.testing.assert_close(on_gpu.grad.cpu(), est.grad, rtol=1e-4, atol=1e-7)
