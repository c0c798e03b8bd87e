"""What every loss keeps: the contract, over all that the package has. A new one needs an entry."""

from __future__ import annotations

import copy
import inspect
import io
import math
import types
import warnings

import numpy as np
import pytest
import torch
from asteroid.losses import PITLossWrapper
from loss_entries import CYCLE, ENTRIES, EVERY_SAMPLE, MSE, SDR, SNR, B, J, T, exact
from noisy_batch import noisy_batch

import asteroid_stab.losses
from asteroid_stab.items import Items
from asteroid_stab.losses import AssignmentLossWrapper
from asteroid_stab.losses.assignment import item_loss, reorder
from asteroid_stab.run.assignments import write_epoch, write_items
from asteroid_stab.run.plan import RunPlan

NAN, INF = math.nan, math.inf
IDS = torch.arange(B)
CASES = [(cls, setting) for cls, settings in ENTRIES.items() for setting in settings]
every_loss = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0].__name__}-{case[1]}".rstrip("-"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs on the items of the batch: one that ended with any labels, and one with the best."""
    root = tmp_path_factory.mktemp("runs")
    any_labels = torch.stack([IDS[:J], CYCLE, CYCLE[CYCLE], torch.tensor([0, 2, 1])])
    best = exact(SDR).assign(*signals()).perm
    for name, labels in (("labels", any_labels), ("best", best)):
        write_items(root / name, [f"item {i}" for i in range(B)], "f" * 16)
        write_epoch(root / name, 0, labels.numpy()[None].astype(np.int8))
    return root


def signals(n_layers=0, n_samples=T, seed=0, dtype=torch.float64):
    """A batch; with layers their estimates get better, and have different orders."""
    est, targets = noisy_batch(J, B, (n_samples,), 0.7, seed, dtype)
    if n_layers:
        est = torch.stack([noisy_batch(J, B, (n_samples,), 0.7, 7, dtype)[0] + targets, est])
    return est, targets


class Made:
    """A loss of an entry, and its signals."""

    def __init__(self, case, folder, losses=SDR, seed=0, dtype=torch.float64):
        self.entry = ENTRIES[case[0]][case[1]]
        torch.manual_seed(seed)
        self.loss = self.entry.make(losses, folder).to(dtype)
        self.est, self.targets = signals(self.entry.n_layers, dtype=dtype)

    def items(self, tensor, index):
        """The items of signals, with or without layers."""
        return tensor.index_select(tensor.ndim - 3, torch.as_tensor(index))


def learn(loss, est, targets, ids=IDS, weights=(1.0, 2.0, 3.0, 4.0)):
    """The assignment, and the gradients of the weighted sum of the items' losses: of estimates, then of parameters."""
    est = est.clone().requires_grad_()
    assigned = loss.assign(est, targets, ids)
    return assigned, *gradients(loss, est, assigned, ids, weights)


def gradients(loss, est, assigned, ids=IDS, weights=(1.0, 2.0, 3.0, 4.0)):
    items = item_loss(assigned.loss)
    value = (torch.where(items.isfinite(), items, 0.0) * torch.tensor(weights).to(items)[ids]).sum()
    return torch.autograd.grad(value, [est, *(p for p in loss.parameters() if p.requires_grad)])


def close(got, wanted, tolerance):
    torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)


def test_every_loss_has_an_entry():
    public = [getattr(asteroid_stab.losses, name) for name in asteroid_stab.losses.__all__]
    losses = {thing for thing in public if isinstance(thing, type) and issubclass(thing, AssignmentLossWrapper)}
    assert {loss for loss in losses if not inspect.isabstract(loss)} == set(ENTRIES)
    assert all(issubclass(loss, PITLossWrapper) for loss in losses)


@every_loss
def test_relabelled_estimates_have_the_same_loss_and_the_assignment_follows(case, folder):
    made = Made(case, folder)
    loss, perm = made.loss.assign(made.est, made.targets, IDS)
    relabelled, moved = made.loss.assign(made.est.index_select(-2, CYCLE), made.targets, IDS)
    if made.entry.order_matters:
        assert (relabelled - loss).abs().max() > 1e-3, "the order does not matter: the entry is wrong"
        return
    close(relabelled, loss, made.entry.tolerance)
    assert torch.equal(CYCLE[moved], perm)


@every_loss
def test_the_neutral_setting_is_plain_pit(case, folder):
    """In value, assignment and gradient; without layers, or with one."""
    entry = ENTRIES[case[0]][case[1]]
    est, targets = signals()
    assigned, of_est, *_ = learn(entry.neutral(folder).double(), est, targets)
    wanted, of_wanted = learn(exact(SDR), est, targets)
    close(item_loss(assigned.loss), item_loss(wanted.loss), entry.neutral_tolerance)
    assert torch.equal(assigned.perm.view(-1, J), wanted.perm)
    close(of_est, of_wanted, entry.neutral_tolerance)


@every_loss
@pytest.mark.parametrize("losses", [SDR, MSE], ids=["sdr", "mse"])
def test_padding_is_never_judged(case, folder, losses):
    """A padded item has the loss, assignment and gradient of the item itself; noise in the padding changes nothing."""
    made = Made(case, folder, losses)
    lengths = [T, 50, 64, 50]
    noise = torch.full_like(made.est[..., :1], 1e3)
    est, targets = made.est.clone(), made.targets.clone()
    for item, length in enumerate(lengths):
        est[..., item, :, length:] = noise[..., item, :, :]
        targets[item, :, length:] = 0
    est.requires_grad_()
    whole = made.loss.assign(est, targets, IDS, lengths=lengths)
    of_est, *of_parameters = gradients(made.loss, est, whole)
    wanted_of_parameters = [torch.zeros_like(part) for part in of_parameters]
    for item, length in enumerate(lengths):
        one = made.items(made.est, [item])[..., :length].clone().requires_grad_()
        part = made.loss.assign(one, made.targets[[item], :, :length], IDS[[item]])
        close(whole.loss[[item]], part.loss, made.entry.tolerance)
        assert torch.equal(whole.perm[..., [item], :], part.perm)
        of_one, *of_part = gradients(made.loss, one, part, IDS[[item]])
        close(made.items(of_est, [item])[..., :length], of_one, made.entry.tolerance)
        assert not made.items(of_est, [item])[..., length:].any()
        wanted_of_parameters = [a + b for a, b in zip(wanted_of_parameters, of_part, strict=True)]
    close(of_parameters, wanted_of_parameters, made.entry.tolerance)
    assert whole.figures.keys() == made.loss.assign(est, targets, IDS).figures.keys()
    assert (whole.neg_si_sdr is not None) == (made.entry.known and losses is SDR)
    same = made.loss.assign(est, targets, IDS, lengths=torch.full((B,), T))
    assert torch.equal(same.loss, made.loss.assign(est, targets, IDS).loss)


@pytest.mark.parametrize("lengths", [[T, T], [T, T, T, T + 1], [T, T, T, 0], [T, T, T, 9.5], 3])
def test_lengths_that_do_not_fit_are_refused(lengths):
    with pytest.raises(ValueError, match=rf"lengths must be {B} integers from 1 to {T}, one for each item, got "):
        exact(SDR).assign(*signals(), lengths=lengths)


@every_loss
@pytest.mark.parametrize("losses", [SDR, MSE], ids=["sdr", "mse"])
@pytest.mark.parametrize("size", [1, 2])
def test_the_parts_of_a_batch_equal_the_whole(case, folder, losses, size):
    """Item by item, and as two processes: losses, assignments, gradients, and the sum of the parameters' gradients."""
    made = Made(case, folder, losses)
    whole, of_est, *of_parameters = learn(made.loss, made.est, made.targets)
    parts = [learn(made.loss, made.items(made.est, ids), made.targets[ids], ids) for ids in IDS.split(size)]
    tolerance = made.entry.tolerance
    close(torch.cat([part[0].loss for part in parts]), whole.loss, tolerance)
    assert torch.equal(torch.cat([part[0].perm for part in parts], whole.perm.ndim - 2), whole.perm)
    close(torch.cat([part[1] for part in parts], of_est.ndim - 3), of_est, tolerance)
    for i, gradient in enumerate(of_parameters):
        close(sum(part[2 + i] for part in parts), gradient, tolerance)


@every_loss
@pytest.mark.parametrize(
    "what", ["silent target", "nan estimate", "inf target", "nan estimate of mse", "silent target of mse"]
)
def test_what_has_no_loss_touches_nothing_else(case, folder, what):
    """The other items keep loss, assignment and gradient; so do the loss's own parameters."""
    made = Made(case, folder, MSE if what.endswith("mse") else SDR)
    others, weights = [0, 2, 3], (1.0, 0.0, 3.0, 4.0)
    clean, of_clean, *parameters_clean = learn(made.loss, made.est, made.targets, weights=weights)
    est, targets = made.est.clone(), made.targets.clone()
    if what.startswith("silent target"):
        targets[1, 2] = 0.7  # silent but for an offset
    elif what == "inf target":
        targets[1, 2, 7] = INF
    else:
        est[..., 1, 0, 5] = NAN
    spoilt, of_spoilt, *parameters_spoilt = learn(made.loss, est, targets, weights=weights)

    tolerance = made.entry.tolerance
    close(spoilt.loss[others], clean.loss[others], tolerance)
    assert torch.equal(spoilt.perm[..., others, :], clean.perm[..., others, :])
    close(made.items(of_spoilt, others), made.items(of_clean, others), tolerance)
    for got, wanted in zip(parameters_spoilt, parameters_clean, strict=True):
        close(got, wanted, tolerance)
    assert not made.items(of_spoilt, [1]).any()

    alone = made.loss.assign(made.items(est, [1]), targets[[1]], IDS[[1]])
    close(spoilt.loss[[1]], alone.loss, tolerance)
    item = spoilt.loss[1]
    if what == "silent target of mse":
        assert item.isfinite().all()  # to a squared error silence is a target
    elif what != "silent target":
        assert (item == INF).all()
    elif made.entry.silent == "source":
        assert item.isnan().tolist() == [False, False, True]
    else:
        assert item.isnan().item() == (made.entry.silent == "item")
    assert all(gradient.isfinite().all() for gradient in learn(made.loss, est, targets)[1:])


@every_loss
@pytest.mark.parametrize("losses", [SDR, MSE], ids=["sdr", "mse"])
def test_a_batch_without_a_loss_keeps_a_graph_and_has_no_mean(case, folder, losses):
    made = Made(case, folder, losses)
    assigned, *of_all = learn(made.loss, torch.full_like(made.est, NAN), made.targets)
    assert assigned.loss.isposinf().all()
    assert not any(gradient.any() for gradient in of_all)
    with pytest.raises(ValueError, match=r"got \[\] with silent targets only and \[0, 1, 2, 3\] with non-finite"):
        made.loss(torch.full_like(made.est, NAN), made.targets, ids=IDS)
    if losses is SDR:
        with pytest.raises(ValueError, match=r"got \[0, 1, 2, 3\] with silent targets only and \[\] with non-finite"):
            made.loss(made.est, torch.zeros_like(made.targets), ids=IDS)


@every_loss
@pytest.mark.parametrize("losses", [SDR, MSE], ids=["sdr", "mse"])
def test_an_empty_batch_is_taken(case, folder, losses):
    """As a process of several may have: it has no loss, and its graph is there for the exchange of gradients."""
    made = Made(case, folder, losses)
    est = made.items(made.est, IDS[:0]).requires_grad_()
    assigned = made.loss.assign(est, made.targets[:0], IDS[:0])
    assert len(assigned.loss) == 0
    assert assigned.perm.shape == (*est.shape[:-3], 0, J)
    assigned.loss.sum().backward()
    assert est.grad is not None


@every_loss
@pytest.mark.parametrize("losses", [SDR, MSE], ids=["sdr", "mse"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32_also_under_autocast(case, folder, losses, dtype):
    made = Made(case, folder, losses, dtype=torch.float32)
    est, targets = made.est.to(dtype), made.targets.to(dtype)
    wanted, of_wanted, *_ = learn(made.loss, est.float(), targets.float())
    est.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = made.loss.assign(est, targets, IDS)
        _, ordered = made.loss(est, targets, return_est=True, ids=IDS)
    assert got.loss.dtype == torch.float32
    assert torch.equal(got.loss, wanted.loss)
    assert torch.equal(got.perm, wanted.perm)
    of_est, *_ = gradients(made.loss, est, got)
    assert of_est.dtype == ordered.dtype == dtype
    close(of_est.float(), of_wanted, 1e-2)


@every_loss
def test_float64_stays(case, folder):
    made = Made(case, folder)
    assert made.loss(made.est, made.targets, ids=IDS).dtype == torch.float64


@every_loss
def test_gradients_are_those_of_differences(case, folder):
    made = Made(case, folder)
    est, targets = signals(made.entry.n_layers, n_samples=20)
    est, targets = made.items(est, [0, 1]).requires_grad_(), targets[:2]
    assert torch.autograd.gradcheck(
        lambda e: made.loss.assign(e, targets, IDS[:2]).loss, est, atol=1e-5, fast_mode=True
    )


@every_loss
def test_saved_and_loaded_within_a_schedule_equals_undisturbed(case, folder):
    """Epochs are set, not counted: what a schedule gives is a function of the epoch, and the rest is in the state."""
    whole = Made(case, folder)
    losses = {}
    for epoch in range(4):
        whole.loss.set_epoch(epoch)
        if epoch < 2:
            with torch.no_grad():
                for parameter in whole.loss.trained_parameters():
                    parameter.mul_(1.1)
        losses[epoch] = whole.loss.assign(whole.est, whole.targets, IDS).loss
        if epoch == 1:
            state = copy.deepcopy(whole.loss.state_dict())
    resumed = Made(case, folder, seed=1)
    resumed.loss.load_state_dict(state)
    for epoch in (3, 1, 3):
        resumed.loss.set_epoch(epoch)
        assert torch.equal(resumed.loss.assign(whole.est, whole.targets, IDS).loss, losses[epoch])
    assert torch.equal(losses[1], losses[3]) == (not whole.entry.scheduled)


@every_loss
def test_figures_are_of_the_call_that_returned_them(case, folder):
    made = Made(case, folder)
    other, _ = signals(made.entry.n_layers, seed=5)
    first = made.loss.assign(made.est.requires_grad_(), made.targets, IDS)
    noted = {name: value.clone() for name, value in first.figures.items()}
    made.loss.assign(other, made.targets, IDS)
    again = made.loss.assign(made.est, made.targets, IDS)
    assert tuple(first.figures) == made.entry.figures
    for name, value in first.figures.items():
        assert value.shape == ()
        assert not value.requires_grad
        assert value == noted[name] == again.figures[name]


@every_loss
def test_the_negative_si_sdr_is_known_where_the_loss_is_that(case, folder):
    made = Made(case, folder)
    assigned = made.loss.assign(made.est.requires_grad_(), made.targets, IDS)
    if made.entry.known:
        assert torch.equal(assigned.neg_si_sdr, assigned.loss)
        assert not assigned.neg_si_sdr.requires_grad
    else:
        assert assigned.neg_si_sdr is None
    for losses in (SNR, MSE):
        other = Made(case, folder, losses)
        assert other.loss.assign(other.est, other.targets, IDS).neg_si_sdr is None


@every_loss
def test_called_as_asteroids_wrappers(case, folder):
    """The mean over the items, and the estimates of the last layer in the order of the targets."""
    made = Made(case, folder)
    loss, perm = made.loss.assign(made.est, made.targets, IDS)
    assert loss.shape == ((B, J) if made.entry.silent == "source" else (B,))
    assert perm.shape == ((made.entry.n_layers, B, J) if made.entry.n_layers else (B, J))
    assert perm.dtype == torch.int64
    value, ordered = made.loss(made.est, made.targets, return_est=True, ids=IDS)
    close(value, item_loss(loss).mean(), 1e-12)
    assert torch.equal(made.loss(made.est, made.targets, ids=IDS), value)
    est, perm = (made.est[-1], perm[-1]) if made.entry.n_layers else (made.est, perm)
    assert torch.equal(ordered, reorder(est, perm))


@every_loss
def test_wrong_calls_are_refused(case, folder):
    made = Made(case, folder)
    loss, est, targets = made.loss, made.est, made.targets
    wrong = [
        (est[..., :2, :], targets, r"as many sources as targets, 3, got 2 \(shapes \[4, 2, 80\] and \[4, 3, 80\]\)"),
        (made.items(est, [0, 1, 2]), targets, "as many items as targets, 4, got 3"),
        (est, targets[0, 0], r"targets must be \[batch, n_src, ...\], got \[80\]"),
        (targets[0, 0], targets[0, 0], r"est_targets must be \[batch, n_src, ...\], got \[80\]"),
        (est[..., :0, :], targets[:, :0], r"at least 1 source, got shape \[4, 0, 80\]"),
        (est[..., 1:], targets, r"shaped as targets, \[4, 3, 80\], got \[4, 3, 79\]"),
        (est.unflatten(-1, (8, 10)), targets.unflatten(-1, (8, 10)), r"\[batch, n_src, time\], got \[4, 3, 8, 10\]"),
    ]
    for wrong_est, wrong_targets, message in wrong:
        with pytest.raises(ValueError, match=message):
            loss.assign(wrong_est, wrong_targets)
    with pytest.raises(ValueError, match="ids must hold an id for each of 4 items, got 3"):
        loss.assign(est, targets, IDS[:3])
    with pytest.raises(ValueError, match=r"NegSDR takes no keyword arguments, got \['weights'\]"):
        loss.assign(est, targets, IDS, weights=3)
    with pytest.raises(ValueError, match=r"loss_func must give losses of shape .*, got \[4"):
        Made(case, folder, EVERY_SAMPLE).loss.assign(est, targets, IDS)


@every_loss
def test_it_can_be_checked_and_bound_as_a_run_does(case, folder):
    made = Made(case, folder)
    made.loss.check(RunPlan(J))
    if made.loss.remembers_items:
        made.loss.bind(Items(B, fingerprint="f" * 16))
    assert set(made.loss.trained_parameters()) <= set(made.loss.parameters())


@every_loss
def test_it_can_be_copied_and_saved_whole(case, folder):
    made = Made(case, folder)
    wanted = made.loss.assign(made.est, made.targets, IDS).loss
    copies = [copy.deepcopy(made.loss)]
    if not isinstance(getattr(made.loss, "perm_reduce", None), types.FunctionType):  # pickle refuses a lambda
        file = io.BytesIO()
        torch.save(made.loss, file)
        file.seek(0)
        copies.append(torch.load(file, weights_only=False))
    for loss in copies:
        assert torch.equal(loss.assign(made.est, made.targets, IDS).loss, wanted)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_loss
def test_gpu_equals_cpu(case, folder):
    made = Made(case, folder, dtype=torch.float32)
    wanted, of_wanted, *_ = learn(made.loss, made.est, made.targets)
    got, of_est, *_ = learn(made.loss.to("cuda"), made.est.cuda(), made.targets.cuda(), IDS.cuda())
    close(got.loss.cpu(), wanted.loss, 1e-3)
    assert torch.equal(got.perm.cpu(), wanted.perm)
    close(of_est.cpu(), of_wanted, 1e-3)


@pytest.fixture(autouse=True)
def _no_advice():
    """SinkPIT warns where its iteration has not converged, which is not the subject here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
