"""The exact wrapper against Asteroid's on regular input, and against its promises on the rest."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr, pairwise_neg_snr
from asteroid.losses.mse import PairwiseMSE, multisrc_mse, singlesrc_mse
from asteroid.losses.sdr import MultiSrcNegSDR, PairwiseNegSDR, SingleSrcNegSDR

from asteroid_stab.losses import Assignment, ExactPITLossWrapper
from asteroid_stab.losses.assignment import inverse, reorder
from asteroid_stab.losses.base_wrapper import AssignmentLossWrapper
from asteroid_stab.losses.pairs import sdr_options

NAN, INF = math.nan, math.inf
pairwise_mse = PairwiseMSE()
SDR_LOSSES = {"pw_mtx": PairwiseNegSDR, "pw_pt": SingleSrcNegSDR, "perm_avg": MultiSrcNegSDR}
MSE_LOSSES = {"pw_mtx": pairwise_mse, "pw_pt": singlesrc_mse, "perm_avg": multisrc_mse}


def batch(n_src=3, n_items=4, shape=(120,), seed=0, dtype=torch.float32):
    """Noisy targets in an order of each item's own."""
    random = torch.Generator().manual_seed(seed)
    targets = torch.randn(n_items, n_src, *shape, generator=random, dtype=torch.float64)
    perms = torch.stack([torch.randperm(n_src, generator=random) for _ in range(n_items)])
    est = reorder(targets, perms) + 0.4 * torch.randn(targets.shape, generator=random, dtype=torch.float64)
    return est.to(dtype), targets.to(dtype)


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
        *batch(n_src, shape=(300,)),
    )


@pytest.mark.parametrize("zero_mean", [True, False])
@pytest.mark.parametrize("take_log", [True, False])
@pytest.mark.parametrize("eps", [1e-8, 1e-3])
def test_equals_asteroid_with_every_option(zero_mean, take_log, eps):
    loss_func = PairwiseNegSDR("sisdr", zero_mean, take_log, eps)
    est, targets = batch(3)
    assert_same_as_asteroid(ExactPITLossWrapper(loss_func), PITLossWrapper(loss_func), est + 0.3, targets - 0.2)


@pytest.mark.parametrize("n_src", range(1, 6))
@pytest.mark.parametrize("sdr_type", ["sisdr", "sdsdr", "snr"])
def test_equals_asteroid_with_its_sdr_losses_of_an_order(n_src, sdr_type):
    loss_func = MultiSrcNegSDR(sdr_type)
    mine, theirs = (wrapper(loss_func, "perm_avg") for wrapper in (ExactPITLossWrapper, PITLossWrapper))
    assert_same_as_asteroid(mine, theirs, *batch(n_src))


@pytest.mark.parametrize("n_src", range(6, 10))
def test_equals_asteroid_with_the_sdr_of_an_order_of_many(n_src):
    """Asteroid would compute the loss n_src! times; the mean of its pairwise losses is the same number."""
    mine = ExactPITLossWrapper(MultiSrcNegSDR("sisdr"), "perm_avg")
    assert_same_as_asteroid(mine, PITLossWrapper(pairwise_neg_sisdr), *batch(n_src))


@pytest.mark.parametrize("pit_from", ["pw_mtx", "pw_pt", "perm_avg"])
@pytest.mark.parametrize("n_src", range(1, 6))
def test_equals_asteroid_with_any_other_loss(pit_from, n_src):
    loss_func = MSE_LOSSES[pit_from]
    mine, theirs = (wrapper(loss_func, pit_from) for wrapper in (ExactPITLossWrapper, PITLossWrapper))
    assert_same_as_asteroid(mine, theirs, *batch(n_src))


@pytest.mark.parametrize("pit_from", ["pw_mtx", "pw_pt"])
@pytest.mark.parametrize("n_src", range(6, 10))
def test_equals_asteroid_with_any_other_pairwise_loss_of_many(pit_from, n_src):
    loss_func = MSE_LOSSES[pit_from]
    mine, theirs = (wrapper(loss_func, pit_from) for wrapper in (ExactPITLossWrapper, PITLossWrapper))
    assert_same_as_asteroid(mine, theirs, *batch(n_src))


def test_equals_asteroid_with_an_order_of_six():
    mine, theirs = (wrapper(multisrc_mse, "perm_avg") for wrapper in (ExactPITLossWrapper, PITLossWrapper))
    assert_same_as_asteroid(mine, theirs, *batch(6, n_items=2, shape=(20,)))


@pytest.mark.parametrize("pit_from", ["pw_pt", "perm_avg"])
def test_equals_asteroid_with_spectrograms(pit_from):
    loss_func = MSE_LOSSES[pit_from]
    mine, theirs = (wrapper(loss_func, pit_from) for wrapper in (ExactPITLossWrapper, PITLossWrapper))
    *_, ordered = assert_same_as_asteroid(mine, theirs, *batch(3, shape=(17, 9)))
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
    est, targets = batch(n_src, n_items=2)
    weights = torch.rand(2, n_src, generator=torch.Generator().manual_seed(1)) ** 4
    mine, theirs = (w(loss_func, pit_from, perm_reduce=weighted) for w in (ExactPITLossWrapper, PITLossWrapper))
    assert_same_as_asteroid(mine, theirs, est, targets, reduce_kwargs={"weights": weights})


def test_keyword_arguments_reach_the_loss():
    def loss_func(est, targets, power):
        return (est - targets).abs().pow(power).mean(-1)

    mine, theirs = (wrapper(loss_func, "pw_pt") for wrapper in (ExactPITLossWrapper, PITLossWrapper))
    cubic, *_ = assert_same_as_asteroid(mine, theirs, *batch(), power=3)
    assert cubic != mine(*batch(), power=2)


@pytest.mark.parametrize("n_src", [10, 20, 100])
def test_many_sources(n_src):
    est, targets = batch(n_src, n_items=2, shape=(200,))
    mine = ExactPITLossWrapper(pairwise_neg_sisdr)
    theirs = partial(asteroid_in_place_of_its_wrapper, pairwise_neg_sisdr)
    with pytest.raises(AssertionError):
        PITLossWrapper(pairwise_neg_sisdr)(est, targets)
    assert_same_as_asteroid(mine, theirs, est, targets)


def test_many_sources_with_any_other_loss():
    est, targets = batch(12, n_items=2, shape=(50,))
    theirs = partial(asteroid_in_place_of_its_wrapper, pairwise_mse)
    for pit_from in ("pw_mtx", "pw_pt"):
        assert_same_as_asteroid(ExactPITLossWrapper(MSE_LOSSES[pit_from], pit_from), theirs, est, targets)


@pytest.mark.parametrize("snr_db", [60, 80])
def test_exact_above_the_accuracy_of_inner_products(snr_db):
    _, targets = batch(3, shape=(8000,))
    est = targets.roll(1, dims=1) + 10 ** (-snr_db / 20) * torch.randn_like(targets)
    loss, perm = ExactPITLossWrapper(pairwise_neg_sisdr).assign(est, targets)
    assert perm.tolist() == [[1, 2, 0]] * 4
    wide = pairwise_neg_sisdr(est.double(), targets.double()).gather(1, perm.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(loss.double(), wide, rtol=1e-5, atol=0)


@pytest.mark.parametrize("n_src", [2, 3, 5])
@pytest.mark.parametrize("pit_from", ["pw_mtx", "pw_pt", "perm_avg"])
@pytest.mark.parametrize("losses", [SDR_LOSSES, MSE_LOSSES], ids=["sdr", "mse"])
def test_assignment_is_per_item_and_follows_relabelled_estimates(pit_from, n_src, losses):
    loss_func = losses[pit_from]("sisdr") if losses is SDR_LOSSES else losses[pit_from]
    wrapper = ExactPITLossWrapper(loss_func, pit_from)
    est, targets = batch(n_src)
    loss, perm = wrapper.assign(est, targets)
    assert loss.shape == ((4,) if pit_from == "perm_avg" else (4, n_src))
    relabel = torch.stack([torch.randperm(n_src) for _ in est])
    again, moved = wrapper.assign(reorder(est, relabel), targets)
    torch.testing.assert_close(again, loss)
    assert torch.equal(relabel.gather(1, moved), perm)
    assert torch.equal(moved, inverse(relabel).gather(1, perm))
    for item in range(4):
        alone = wrapper.assign(est[item : item + 1], targets[item : item + 1])
        torch.testing.assert_close(alone.loss[0], loss[item])


def test_float64_stays_and_half_precision_is_cast_up():
    wrapper = ExactPITLossWrapper(pairwise_neg_sisdr)
    est, targets = batch(dtype=torch.float64)
    assert wrapper(est, targets).dtype == torch.float64
    for loss_func in (pairwise_neg_sisdr, pairwise_mse):
        wrapper = ExactPITLossWrapper(loss_func)
        half = est.bfloat16().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value, ordered = wrapper(half, targets.bfloat16(), return_est=True)
        assert value == wrapper(half.float(), targets.bfloat16().float())
        assert value.dtype == torch.float32
        assert ordered.dtype == torch.bfloat16
        value.backward()
        assert half.grad.dtype == torch.bfloat16


class MatrixProductLoss(torch.nn.Module):
    """A pairwise loss that autocast would compute in bfloat16."""

    def forward(self, est, targets):
        return -(est @ targets.mT)


def test_autocast_is_off_around_any_loss():
    est, targets = batch()
    wrapper = ExactPITLossWrapper(MatrixProductLoss())
    expected = wrapper.assign(est, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = wrapper.assign(est, targets)
    assert torch.equal(got.loss, expected.loss)


# Signals that have no loss


def spoilt(n_src=3):
    """Items: regular, one silent target, an estimate with nan, a target with inf, silence, regular."""
    est, targets = batch(n_src, n_items=6)
    targets[1, 0] = 0.7  # silent but for an offset
    est[2, n_src - 1, 3] = NAN
    targets[3, 0, 5] = INF
    targets[4] = 0.0
    return est, targets


@pytest.mark.parametrize("n_src", [2, 3, 5])
@pytest.mark.parametrize("pit_from", ["pw_mtx", "pw_pt"])
def test_what_has_no_loss_is_left_out_of_value_and_gradient(pit_from, n_src):
    est, targets = spoilt(n_src)
    est.requires_grad_(), targets.requires_grad_()
    wrapper = ExactPITLossWrapper(SDR_LOSSES[pit_from]("sisdr"), pit_from)
    loss, perm = wrapper.assign(est, targets)
    assert loss[1].isnan().tolist() == [True] + [False] * (n_src - 1)
    assert loss[2:4].isinf().all()
    assert loss[4].isnan().all()
    assert perm[2:5].tolist() == [list(range(n_src))] * 3
    assert loss[[0, 5]].isfinite().all()

    value = wrapper(est, targets)
    items = [loss[0].mean(), loss[1, 1:].mean(), loss[5].mean()]
    assert value.item() == pytest.approx(torch.stack(items).mean().item(), rel=1e-6)
    of_est, of_targets = torch.autograd.grad(value, (est, targets))
    assert of_est.isfinite().all()
    assert of_targets.isfinite().all()
    assert not of_est[2:5].any()
    assert not of_est[1, perm[1, 0]].any()
    clean_est = est.detach()[[0, 5]].requires_grad_()
    clean = ExactPITLossWrapper(pairwise_neg_sisdr)(clean_est, targets.detach()[[0, 5]])
    clean.backward()
    torch.testing.assert_close(of_est[[0, 5]], clean_est.grad * 2 / 3)


def test_a_silent_target_leaves_the_choice_to_the_others():
    est, targets = batch(3)
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


@pytest.mark.parametrize("n_src", [2, 5])
@pytest.mark.parametrize("pit_from", ["pw_mtx", "pw_pt", "perm_avg"])
def test_any_other_loss_is_kept_from_non_finite_items(pit_from, n_src):
    est, targets = spoilt(n_src)
    est.requires_grad_()
    wrapper = ExactPITLossWrapper(MSE_LOSSES[pit_from], pit_from)
    loss, perm = wrapper.assign(est, targets)
    bad = torch.tensor([False, False, True, True, False, False])
    assert torch.equal(loss.isinf().view(6, -1).all(1), bad)
    assert torch.equal(loss.isfinite().view(6, -1).all(1), ~bad)  # to a squared error silence is a target
    assert perm[bad].tolist() == [list(range(n_src))] * 2
    value = wrapper(est, targets)
    value.backward()
    assert est.grad.isfinite().all()
    assert not est.grad[bad].any()
    clean_est = est.detach()[~bad].requires_grad_()
    clean = PITLossWrapper(MSE_LOSSES[pit_from], pit_from)(clean_est, targets[~bad])
    clean.backward()
    torch.testing.assert_close(value, clean)
    torch.testing.assert_close(est.grad[~bad], clean_est.grad)


@pytest.mark.parametrize("pit_from", ["pw_mtx", "pw_pt", "perm_avg"])
def test_a_loss_that_overlooks_bad_values_does_not_save_the_item(pit_from):
    def forgiving(est, targets):
        return MSE_LOSSES[pit_from](est.nan_to_num(), targets)

    est, targets = batch()
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
    est, targets = batch()
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


@pytest.mark.parametrize("pit_from", ["pw_mtx", "pw_pt", "perm_avg"])
@pytest.mark.parametrize("losses", [SDR_LOSSES, MSE_LOSSES], ids=["sdr", "mse"])
def test_batch_without_a_loss_stops_in_forward_alone(pit_from, losses):
    loss_func = losses[pit_from]("sisdr") if losses is SDR_LOSSES else losses[pit_from]
    est, targets = batch(n_items=3)
    est[:] = NAN
    est.requires_grad_()
    wrapper = ExactPITLossWrapper(loss_func, pit_from)
    loss, perm = wrapper.assign(est, targets)
    assert loss.isinf().all()
    assert perm.tolist() == [[0, 1, 2]] * 3
    torch.where(loss.isfinite(), loss, 0.0).sum().backward()  # still a graph, for the other processes
    assert not est.grad.any()
    with pytest.raises(ValueError, match=r"got \[\] with silent targets only and \[0, 1, 2\] with non-finite"):
        wrapper(est, targets)


def test_batch_of_silence_stops_with_its_positions():
    est, targets = batch(n_items=3)
    est[1, 0, 0] = NAN
    with pytest.raises(ValueError, match=r"got \[0, 2\] with silent targets only and \[1\] with non-finite"):
        ExactPITLossWrapper(pairwise_neg_sisdr)(est, torch.zeros_like(targets))


# Wrong use


@pytest.mark.parametrize("loss_func", [pairwise_neg_sisdr, pairwise_mse], ids=["sdr", "mse"])
def test_wrong_shapes_are_refused(loss_func):
    est, targets = batch(3)
    wrapper = ExactPITLossWrapper(loss_func)
    with pytest.raises(ValueError, match=r"as many sources as targets, 3, got 2 \(shapes \[4, 2, 120\] and \[4, 3"):
        wrapper(est[:, :2], targets)
    with pytest.raises(ValueError, match=r"as many items as targets, 3, got 4"):
        wrapper(est, targets[:3])
    with pytest.raises(ValueError, match=r"targets must be \[batch, n_src, ...\], got \[120\]"):
        wrapper(est, targets[0, 0])
    with pytest.raises(ValueError, match=r"est_targets must be \[batch, n_src, ...\], got \[4\]"):
        wrapper(est[:, 0, 0], targets)
    with pytest.raises(ValueError, match=r"at least 1 source, got shape \[4, 0, 120\]"):
        wrapper(est[:, :0], targets[:, :0])


@pytest.mark.parametrize("pit_from", ["pw_mtx", "pw_pt", "perm_avg"])
def test_sdr_losses_take_signals_only(pit_from):
    wrapper = ExactPITLossWrapper(SDR_LOSSES[pit_from]("sisdr"), pit_from)
    est, targets = batch(3)
    with pytest.raises(ValueError, match=r"shaped as targets, \[4, 3, 120\], got \[4, 3, 119\]"):
        wrapper(est[..., 1:], targets)
    with pytest.raises(ValueError, match=r"targets must be \[batch, n_src, time\], got \[4, 3, 8, 15\]"):
        wrapper(est.view(4, 3, 8, 15), targets.view(4, 3, 8, 15))
    with pytest.raises(ValueError, match=r"NegSDR takes no keyword arguments, got \['lengths'\]"):
        wrapper(est, targets, lengths=3)


@pytest.mark.parametrize(
    ("pit_from", "wanted"), [("pw_mtx", r"\[4, 3, 3\]"), ("pw_pt", r"\[4\]"), ("perm_avg", r"\[4\]")]
)
def test_a_loss_of_another_shape_is_refused(pit_from, wanted):
    wrapper = ExactPITLossWrapper(lambda est, targets: (est - targets).square(), pit_from)
    with pytest.raises(ValueError, match=rf"loss_func must give losses of shape .*{wanted}, got \[4"):
        wrapper(*batch(3))


def test_a_reduction_of_another_shape_is_refused():
    wrapper = ExactPITLossWrapper(pairwise_mse, perm_reduce=lambda losses: losses.mean(1))
    with pytest.raises(ValueError, match=r"perm_reduce must give .* \[4, 6\], got \[4, 3\]"):
        wrapper(*batch(3))


@pytest.mark.parametrize(
    ("pit_from", "perm_reduce"), [("pw_mtx", torch.mean), ("pw_pt", torch.mean), ("perm_avg", None)]
)
def test_factorial_searches_have_a_limit(pit_from, perm_reduce):
    wrapper = ExactPITLossWrapper(MSE_LOSSES[pit_from], pit_from, perm_reduce)
    what = "perm_reduce" if perm_reduce else "pit_from='perm_avg'"
    with pytest.raises(ValueError, match=f"{what} compares n_src! permutations: n_src must be at most 9, got 10"):
        wrapper(*batch(10))


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="pit_from must be one of pw_mtx, pw_pt, perm_avg, got 'pairwise'"):
        ExactPITLossWrapper(pairwise_neg_sisdr, pit_from="pairwise")


# The base


def test_which_losses_are_computed_directly():
    class Renamed(PairwiseNegSDR):
        pass

    assert sdr_options(PairwiseNegSDR("snr", False, False, 1e-5), "pw_mtx").eps == 1e-5
    assert sdr_options(Renamed("sisdr"), "pw_mtx") is None
    assert sdr_options(pairwise_neg_sisdr, "pw_pt") is None
    assert sdr_options(SingleSrcNegSDR("sisdr", reduction="mean"), "pw_pt") is None
    assert sdr_options(pairwise_mse, "pw_mtx") is None


def test_a_subclass_needs_assign_alone():
    class InOrder(AssignmentLossWrapper):
        def _assign(self, est_targets, targets, pair_loss, ids):
            order = torch.arange(targets.shape[1]).expand(targets.shape[:2])
            return Assignment((est_targets - targets).square().mean(-1), order)

    est, targets = batch()
    value, ordered = InOrder(pairwise_mse)(est, targets, return_est=True)
    torch.testing.assert_close(value, (est - targets).square().mean())
    assert torch.equal(ordered, est)
    with pytest.raises(TypeError, match=r"abstract.*_assign"):
        AssignmentLossWrapper(pairwise_mse)


def test_it_is_asteroids_wrapper_and_can_be_saved(tmp_path):
    wrapper = ExactPITLossWrapper(pairwise_neg_snr)
    assert isinstance(wrapper, PITLossWrapper)
    torch.save(wrapper, tmp_path / "loss.pth")
    loaded = torch.load(tmp_path / "loss.pth", weights_only=False)
    assert loaded(*batch()) == wrapper(*batch())


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
