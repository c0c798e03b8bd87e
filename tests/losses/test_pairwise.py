"""Pairwise negative SDR by inner products against Asteroid's and against a sum written out in float64."""

from __future__ import annotations

import itertools

import pytest
import torch
from asteroid.losses.sdr import PairwiseNegSDR
from torch.overrides import TorchFunctionMode

from asteroid_stab.losses.pairwise import (
    SDR_TYPES,
    SdrOptions,
    full_precision,
    inner_products,
    pairwise_neg_sdr,
    prepare_signals,
    upcast,
)

ALL_OPTIONS = [SdrOptions(*flags) for flags in itertools.product(SDR_TYPES, (True, False), (True, False))]


def reference(est, targets, options=SdrOptions()):  # noqa: B008
    """Every pair by itself, in float64, straight from the definition."""
    est, targets = est.double(), targets.double()
    n_items, n_src, _ = targets.shape
    losses = torch.zeros(n_items, n_src, n_src, dtype=torch.float64)
    for b, i, j in itertools.product(range(n_items), range(n_src), range(n_src)):
        y, x = est[b, i], targets[b, j]
        if options.zero_mean:
            y, x = y - y.mean(), x - x.mean()
        projection = x if options.sdr_type == "snr" else (y @ x) / (x @ x + options.eps) * x
        noise = y - projection if options.sdr_type == "sisdr" else y - x
        ratio = (projection @ projection) / (noise @ noise + options.eps)
        losses[b, i, j] = -10 * torch.log10(ratio + options.eps) if options.take_log else -ratio
    return losses


def batch(snr_db=10.0, n_items=2, n_src=3, n_samples=400, seed=0, dtype=torch.float32):
    """Estimates at ``snr_db`` in the order 2, 0, 1 (a 3-cycle) for three sources, and targets."""
    random = torch.Generator().manual_seed(seed)
    targets = torch.randn(n_items, n_src, n_samples, generator=random, dtype=torch.float64)
    noise = torch.randn(n_items, n_src, n_samples, generator=random, dtype=torch.float64)
    est = targets.roll(1, dims=1) + 10 ** (-snr_db / 20) * noise
    return est.to(dtype), targets.to(dtype)


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=str)
def test_equals_the_definition_in_float64(options):
    est, targets = batch(dtype=torch.float64)
    torch.testing.assert_close(
        pairwise_neg_sdr(est, targets, options), reference(est, targets, options), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=str)
@pytest.mark.parametrize("eps", [1e-8, 1e-2])
def test_equals_asteroid(options, eps):
    est, targets = batch()
    asteroid = PairwiseNegSDR(options.sdr_type, options.zero_mean, options.take_log, eps)
    mine = SdrOptions(options.sdr_type, options.zero_mean, options.take_log, eps)
    torch.testing.assert_close(pairwise_neg_sdr(est, targets, mine), asteroid(est, targets), rtol=1e-4, atol=1e-4)


def test_first_axis_is_the_estimate():
    est, targets = batch()
    assert pairwise_neg_sdr(est, targets).argmin(1).tolist() == [[1, 2, 0], [1, 2, 0]]


@pytest.mark.parametrize(("snr_db", "tolerance"), [(30, 0.01), (40, 0.1)])
def test_float32_is_as_good_as_documented(snr_db, tolerance):
    est, targets = batch(snr_db, n_samples=24000)
    worst = (pairwise_neg_sdr(est, targets) - reference(est, targets)).abs().max()
    assert worst < tolerance


@pytest.mark.parametrize("offset", [10.0, 300.0])
def test_large_offset_costs_no_digits_beyond_those_of_the_samples(offset):
    """With means taken out of the products instead, an offset of 300 would be wrong by 99 dB."""
    est, targets = batch(20, n_samples=8000)
    est, targets = est + offset, targets - offset  # float32 samples; the reference sees the same
    torch.testing.assert_close(pairwise_neg_sdr(est, targets).double(), reference(est, targets), rtol=0, atol=0.01)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    est, targets = (signal.to(dtype) for signal in batch())
    pw = pairwise_neg_sdr(est, targets)
    assert pw.dtype == torch.float32
    torch.testing.assert_close(pw, pairwise_neg_sdr(est.float(), targets.float()), rtol=0, atol=0)


def test_autocast_changes_nothing():
    est, targets = batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (est @ targets.mT).dtype == torch.bfloat16
        assert torch.equal(pairwise_neg_sdr(est, targets), pairwise_neg_sdr(*batch()))
    assert torch.equal(pairwise_neg_sdr(est, targets), pairwise_neg_sdr(*batch()))


def test_half_precision_matrix_products_are_off_inside_and_put_back():
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "bf16"
        with full_precision(torch.device("cpu")):
            assert matmul.fp32_precision == "ieee"
        assert matmul.fp32_precision == "bf16"
        with pytest.raises(ValueError, match="shaped as targets"):
            pairwise_neg_sdr(torch.zeros(1, 2, 3), torch.zeros(1, 2, 4))
        assert matmul.fp32_precision == "bf16"
    finally:
        matmul.fp32_precision = before


def test_upcast_touches_half_precision_only():
    kept = [torch.zeros(1, dtype=dtype) for dtype in (torch.float64, torch.int64, torch.complex64)]
    assert all(new is old for new, old in zip(upcast(*kept), kept, strict=True))
    assert [t.dtype for t in upcast(kept[0].half(), kept[0].bfloat16())] == [torch.float32] * 2


class LargestTensor(TorchFunctionMode):
    """Counts the elements of the largest tensor that is made."""

    def __init__(self):
        super().__init__()
        self.n_elements = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.n_elements = max(self.n_elements, tensor.numel())
        return out


def test_no_tensor_is_larger_than_the_signals():
    est, targets = batch(n_src=12)
    with LargestTensor() as largest:
        pairwise_neg_sdr(est, targets)
    assert largest.n_elements == est.numel()


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=str)
def test_gradient(options):
    est, targets = batch(n_items=1, n_samples=7, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda e, t: pairwise_neg_sdr(e, t, options), (est.requires_grad_(), targets.requires_grad_())
    )


def test_prepared_signals_tell_what_is_silent_and_what_is_not_finite():
    est, targets = batch(n_items=4)
    targets[1, 2] = 5.0  # an offset only: silent once its mean is gone
    est[2, 0, 7] = float("nan")
    targets[3, 1, 0] = float("inf")
    signals = prepare_signals(est, targets)
    assert signals.finite.tolist() == [True, True, False, False]
    assert signals.silent.nonzero().tolist() == [[1, 2]]
    torch.testing.assert_close(signals.est_energy[0], (est[0] - est[0].mean(-1, True)).square().sum(-1))


def test_signals_are_not_copied_where_no_mean_is_taken():
    est, targets = batch()
    signals = prepare_signals(est, targets, SdrOptions(zero_mean=False))
    assert signals.est is est
    assert signals.targets is targets


def test_strided_and_expanded_signals():
    est, targets = batch(n_items=3)
    strided = est.transpose(0, 2).contiguous().transpose(0, 2)
    assert not strided.is_contiguous()
    same = targets[:1].expand(3, -1, -1)
    torch.testing.assert_close(pairwise_neg_sdr(strided, same), pairwise_neg_sdr(est, same.clone()))
    assert inner_products(prepare_signals(strided, same)).shape == (3, 3, 3)


def test_wrong_input_is_refused():
    est, targets = batch()
    with pytest.raises(ValueError, match=r"targets must be \[batch, n_src, time\], got \[3, 400\]"):
        pairwise_neg_sdr(est[0], targets[0])
    with pytest.raises(ValueError, match=r"shaped as targets, \[2, 3, 400\], got \[2, 3, 399\]"):
        pairwise_neg_sdr(est[..., 1:], targets)
    with pytest.raises(ValueError, match="one of sisdr, sdsdr, snr, got 'sdr'"):
        SdrOptions("sdr")
