"""Hysteresis against a slow search in float64, over epochs, processes, resumes and layers."""

import copy
import itertools
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr
from asteroid.losses.mse import PairwiseMSE, singlesrc_mse
from runs import KILL, WORKERS, stab, state, train
from threads import Threads

from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.losses import (
    Assignment,
    ExactPITLossWrapper,
    HysteresisPITLossWrapper,
    LayerwiseLossWrapper,
    SwitchedLossWrapper,
)
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers import LossThreshold, SampleDropout, Stabilization

N, T, EPOCHS = 8, 40, 6


def epochs_of(n_src, n_layers=0, seed=0):
    """Estimates of every epoch, which confuse the sources more or less, and the sources; float64."""
    random = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(*shape, T, generator=random, dtype=torch.float64)

    sources = noise(N, n_src)
    shape = (n_layers, N, n_src) if n_layers else (N, n_src)
    return [0.3 * sources + noise(*shape) for _ in range(EPOCHS)], sources


def neg_si_sdr(est, source):
    est, source = est - est.mean(), source - source.mean()
    target = (est @ source) / (source @ source) * source
    return -10 * torch.log10((target @ target) / ((est - target) @ (est - target))).item()


def mse(est, source):
    return (est - source).square().mean().item()


def slow_search(cost, kept, margin):
    """The assignment of least cost by trying all, and its total without the margin."""

    def total(perm):
        return sum(cost[i][j] - margin * (kept is not None and kept[j] == i) for j, i in enumerate(perm))

    return min(itertools.permutations(range(len(cost))), key=total)


def slow_training(estimates, sources, margin, memory="last", pair=neg_si_sdr):
    """The assignments of all items in every epoch, and the share of items held."""
    n_src, table, perms, held = sources.shape[1], {}, [], []
    for est in estimates:
        of_epoch, n_held = [], 0
        for item in range(N):
            cost = [[pair(est[item, i], sources[item, j]) for j in range(n_src)] for i in range(n_src)]
            kept, best = table.get(item, (None, None))
            perm = slow_search(cost, kept, margin)
            n_held += perm != slow_search(cost, None, 0.0)
            loss = sum(cost[i][j] for j, i in enumerate(perm)) / n_src
            if memory == "last" or best is None or loss < best:
                table[item] = perm, loss if best is None else min(best, loss)
            of_epoch.append(list(perm))
        perms.append(of_epoch)
        held.append(n_held / N)
    return perms, held


class Watched(Stabilization):
    """Keeps the value and the gradient of every step."""

    values = ()

    def train_epoch(self, epoch, est, sources, batches, end=True):
        if not self.progress.under_way or self.progress.clock.epoch != epoch:
            self.begin_epoch(epoch)
        for rows in batches:
            ids = torch.tensor(rows)
            made = est[..., ids, :, :].clone().requires_grad_()
            value = self(made, sources[ids], ids=ids)
            value.backward()
            self.values = (*self.values, (value.item(), made.grad))
        return self.end_epoch() if end else {}


def halves():
    return [[*range(N // 2)], [*range(N // 2, N)]]


def training(loss, estimates, sources, stabilizers=(), comm=None, batches=None):
    stabilization = Watched(loss, stabilizers, N, comm)
    rows = [stabilization.train_epoch(epoch, est, sources, batches or halves()) for epoch, est in enumerate(estimates)]
    return stabilization, rows


def chosen(loss, estimates, sources, **kwargs):
    """The assignments that each epoch was trained with, and its figures."""
    seen = []

    class Look(LossThreshold):
        def logits(self, step):
            seen.append(step.assignment.perm)
            return super().logits(step)

    _, rows = training(loss, estimates, sources, [Look()], **kwargs)
    n = len(seen) // len(estimates)
    return [torch.cat(seen[i * n : i * n + n], -2).tolist() for i in range(len(estimates))], rows


@pytest.mark.parametrize("n_src", [2, 3, 4, 5])
@pytest.mark.parametrize("margin", [1.5, 200.0])
@pytest.mark.parametrize("memory", ["last", "best"])
def test_it_equals_a_search_over_all_permutations(n_src, margin, memory):
    """Over epochs; four and five sources go through SciPy."""
    estimates, sources = epochs_of(n_src)
    loss = HysteresisPITLossWrapper(pairwise_neg_sisdr, margin, memory)
    perms, rows = chosen(loss, estimates, sources)
    wanted, held = slow_training(estimates, sources, margin, memory)
    assert perms == wanted
    assert [row["held"] for row in rows] == pytest.approx(held)
    assert held[0] == 0
    assert max(held) > 0
    if margin == 200.0 and memory == "last":
        assert perms == perms[:1] * EPOCHS


@pytest.mark.parametrize(("loss_func", "pit_from"), [(PairwiseMSE(), "pw_mtx"), (singlesrc_mse, "pw_pt")])
def test_any_loss_of_pairs_has_the_margin_in_its_unit(loss_func, pit_from):
    estimates, sources = epochs_of(3)
    loss = HysteresisPITLossWrapper(loss_func, 0.2, pit_from=pit_from)
    perms, _ = chosen(loss, estimates, sources)
    assert perms == slow_training(estimates, sources, 0.2, pair=mse)[0]
    assert perms != slow_training(estimates, sources, 0.0, pair=mse)[0]


def test_the_loss_is_the_plain_one_of_the_assignment():
    estimates, sources = epochs_of(3)
    loss = HysteresisPITLossWrapper(pairwise_neg_sisdr, 5.0)
    training(loss, estimates, sources)
    est = estimates[0].clone().requires_grad_()
    got = loss.assign(est, sources, torch.arange(N))
    picked = pairwise_neg_sisdr(est, sources).gather(1, got.perm.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(got.loss, picked)
    torch.testing.assert_close(*(torch.autograd.grad(x.sum(), est, retain_graph=True)[0] for x in (got.loss, picked)))


@pytest.mark.parametrize("n_src", [3, 5])
def test_margin_0_is_plain_pit_to_the_bit_and_remembers_nothing(n_src):
    estimates, sources = epochs_of(n_src)
    loss = HysteresisPITLossWrapper(pairwise_neg_sisdr, 0.0)
    a, rows = training(loss, estimates, sources)
    b, wanted = training(ExactPITLossWrapper(pairwise_neg_sisdr), estimates, sources)
    assert rows == wanted
    for (value, grad), (other, other_grad) in zip(a.values, b.values, strict=True):
        assert value == other
        assert torch.equal(grad, other_grad)
    assert not loss.remembers_items
    assert not loss.banks
    Stabilization(loss)  # and needs no items


def test_a_saved_training_goes_on_as_if_undisturbed():
    """Within an epoch and between epochs, by the state of the whole step."""
    estimates, sources = epochs_of(3)
    make = lambda: HysteresisPITLossWrapper(pairwise_neg_sisdr, 3.0)  # noqa: E731
    whole, rows = training(make(), estimates, sources)
    first = Watched(make(), items=N)
    first.train_epoch(0, estimates[0], sources, halves())
    first.train_epoch(1, estimates[1], sources, halves()[:1], end=False)
    again = Watched(make(), items=N)
    again.load_state_dict(copy.deepcopy(first.state_dict()))
    figures = [again.train_epoch(1, estimates[1], sources, halves()[1:])]
    figures += [again.train_epoch(epoch, estimates[epoch], sources, halves()) for epoch in range(2, EPOCHS)]
    assert figures == rows[1:]
    for (value, grad), (other, other_grad) in zip(again.values, whole.values[3:], strict=True):
        assert value == other
        assert torch.equal(grad, other_grad)


def test_a_checkpoint_that_is_loaded_before_the_items_are_known(tmp_path):
    """As Lightning does, with torch.load's weights_only; and saved again before that."""
    estimates, sources = epochs_of(3)
    loss = HysteresisPITLossWrapper(pairwise_neg_sisdr, 3.0)
    training(loss, estimates, sources)
    torch.save(loss.state_dict(), tmp_path / "a.pt")
    again = HysteresisPITLossWrapper(pairwise_neg_sisdr, 3.0)
    again.load_state_dict(torch.load(tmp_path / "a.pt", weights_only=True))
    torch.save(again.state_dict(), tmp_path / "b.pt")
    third = HysteresisPITLossWrapper(pairwise_neg_sisdr, 3.0)
    third.load_state_dict(torch.load(tmp_path / "b.pt", weights_only=True))
    for one in (again, third):
        one.bind(Items(N))
        assert torch.equal(one.banks[-1].perm, loss.banks[-1].perm)
    third.forget()
    assert third.assign(estimates[1], sources, torch.arange(N)).figures["held"] == 0


@pytest.mark.parametrize("memory", ["last", "best"])
def test_two_processes_equal_one(memory):
    """Each process sees other items in every epoch; after it, both know all."""
    estimates, sources = epochs_of(3)
    wanted, _ = slow_training(estimates, sources, 3.0, memory)
    threads = Threads(2)

    def run(rank):
        loss, found = HysteresisPITLossWrapper(pairwise_neg_sisdr, 3.0, memory), []
        step = Watched(loss, items=N, comm=threads.comm(rank))
        for epoch, est in enumerate(estimates):
            mine = [item for item in range(N) if (item + epoch) % 2 == rank]
            batches = [mine[: N // 4], mine[N // 4 :]]
            before = copy.deepcopy(loss)
            step.train_epoch(epoch, est, sources, batches)
            perm = before.assign(est[mine], sources[mine], torch.tensor(mine)).perm
            found.append(dict(zip(mine, perm.tolist(), strict=True)))
        return found, loss.banks[-1].perm

    with ThreadPoolExecutor(2) as pool:
        (a, bank_a), (b, bank_b) = pool.map(run, range(2))
    for epoch, of_epoch in enumerate(wanted):
        both = {**a[epoch], **b[epoch]}
        assert [both[item] for item in range(N)] == of_epoch
    assert torch.equal(bank_a, bank_b)


def test_every_layer_has_a_memory_of_its_own():
    estimates, sources = epochs_of(3, n_layers=2)
    loss = LayerwiseLossWrapper(HysteresisPITLossWrapper(pairwise_neg_sisdr, 3.0))
    perms, _ = chosen(loss, estimates, sources)
    for layer in range(2):
        wanted, _ = slow_training([est[layer] for est in estimates], sources, 3.0)
        assert [of_epoch[layer] for of_epoch in perms] == wanted


def test_layers_with_the_last_ones_assignment_share_its_memory():
    estimates, sources = epochs_of(3, n_layers=2)
    loss = LayerwiseLossWrapper(HysteresisPITLossWrapper(pairwise_neg_sisdr, 3.0), perm="last")
    perms, _ = chosen(loss, estimates, sources)
    wanted, _ = slow_training([est[-1] for est in estimates], sources, 3.0)
    assert [of_epoch[0] for of_epoch in perms] == [of_epoch[1] for of_epoch in perms] == wanted
    assert [*loss.loss.banks] == [-1]


def test_a_phase_before_it_fills_its_memory():
    estimates, sources = epochs_of(3)
    kept = HysteresisPITLossWrapper(pairwise_neg_sisdr, 200.0)
    phases = {"pit": ExactPITLossWrapper(pairwise_neg_sisdr), "kept": kept}
    perms, _ = chosen(SwitchedLossWrapper(phases, {"pit": 0, "kept": 3}), estimates, sources)
    assert perms[:3] == slow_training(estimates[:3], sources, 0.0)[0]
    assert perms[3:] == perms[2:3] * 3


def test_items_that_a_stabilizer_drops_are_remembered_as_well():
    estimates, sources = epochs_of(3)
    loss = HysteresisPITLossWrapper(pairwise_neg_sisdr, 3.0)
    _, rows = training(loss, estimates, sources, [SampleDropout(epsilon_db=0.0, keep_same=False)])
    assert min(row["kept"] for row in rows) < 1
    wanted, _ = slow_training(estimates, sources, 3.0)
    assert loss.banks[-1].perm.tolist() == wanted[-1]


def test_a_silent_source_and_a_broken_item_keep_their_memory():
    loss = HysteresisPITLossWrapper(pairwise_neg_sisdr, 3.0)
    loss.bind(Items(N))
    est, sources = epochs_of(3)[0][0], epochs_of(3)[1]
    ids = torch.arange(N)
    first = torch.tensor([[2, 0, 1]]).repeat(N, 1)
    loss.remember(ids, Assignment(torch.zeros(N, 3), first))
    silent = sources.clone()
    silent[3, 1] = 0
    est = est.clone()
    est[5, 0, 0] = torch.nan
    assigned = loss.assign(est, silent, ids)
    loss.remember(ids, assigned)
    perm, kept = assigned.perm, loss.banks[-1].perm.long()
    assert torch.equal(kept[5], first[5])
    assert kept[3].tolist() == [perm[3, 0], 0, perm[3, 2]]
    others = [0, 1, 2, 4, 6, 7]
    assert torch.equal(kept[others], perm[others])


def test_what_cannot_work_is_refused():
    with pytest.raises(ValueError, match=r"margin_db must be a number of at least 0, got -1 \(loss=fixed keeps"):
        HysteresisPITLossWrapper(pairwise_neg_sisdr, -1)
    with pytest.raises(ValueError, match="margin_db must be a number of at least 0, got inf"):
        HysteresisPITLossWrapper(pairwise_neg_sisdr, float("inf"))
    with pytest.raises(ValueError, match="memory must be one of last, best, got 'first'"):
        HysteresisPITLossWrapper(pairwise_neg_sisdr, 1.0, "first")
    loss = HysteresisPITLossWrapper(pairwise_neg_sisdr, 1.0)
    (est, *_), sources = epochs_of(3)
    with pytest.raises(ValueError, match=r"was never bound to them: train with Stabilization\(loss, items=N\)"):
        loss.assign(est, sources, torch.arange(N))
    with pytest.raises(ValueError, match=r"must be bound to the training items first: bind\(Items\(N\)\)"):
        loss.remember(torch.arange(N), Assignment(torch.zeros(N, 3), torch.zeros(N, 3, dtype=torch.long)))
    loss.bind(Items(N, fingerprint="a"))
    with pytest.raises(ValueError, match=r"assign\(\) needs ids in training, got None \(eval\(\) assigns exactly\)"):
        loss.assign(est, sources)
    loss.remember(torch.arange(N), loss.assign(est, sources, torch.arange(N)))
    with pytest.raises(ValueError, match="the memory is of 3 sources, got 2"):
        loss.assign(est[:, :2], sources[:, :2], torch.arange(N))
    with pytest.raises(StabError, match="trained on items with fingerprint a, these 8 have b"):
        loss.bind(Items(N, fingerprint="b"))
    other = HysteresisPITLossWrapper(pairwise_neg_sisdr, 1.0)
    other.load_state_dict(loss.state_dict())
    with pytest.raises(StabError, match="saved with 8 for items, this run has 9"):
        other.bind(Items(9))
    with pytest.raises(StabError, match="a bank of assignments holds 1 to 100 sources, got 101"):
        loss.check(RunPlan(101))
    with pytest.raises(StabError, match=r"HysteresisPITLossWrapper needs stable ids, but the training set mixes"):
        Stabilization(loss, items=Items(N, stable=False))


def test_what_changes_nothing_is_declared():
    def notes(loss, n_src=2):
        return RunPlan(n_src, loss=loss).notes()

    off, on = (HysteresisPITLossWrapper(pairwise_neg_sisdr, margin) for margin in (0.0, 1.0))
    for loss in (off, LayerwiseLossWrapper(off)):
        assert len(notes(loss)) == 1
        assert notes(loss)[0].startswith("HysteresisPITLossWrapper changes nothing in this run: margin_db=0 is plain")
    assert len(notes(on, 1)) == 1
    assert notes(on, 1)[0].endswith("changes nothing in this run: with one source there is one assignment")
    assert notes(on) == notes(LayerwiseLossWrapper(on)) == notes(ExactPITLossWrapper(pairwise_neg_sisdr)) == []


MARGIN = ["loss.margin_db=30", "trainer.max_epochs=3", "optim.lr=0.05"]


@pytest.mark.slow
def test_a_run_killed_in_mid_epoch_goes_on_as_if_undisturbed(tmp_path):
    words = [*MARGIN, "head=layerwise", "model.n_repeats=2", KILL]
    train(tmp_path / "whole", "hysteresis/toy", *words, n_src=4)
    killed = train(tmp_path / "run", "hysteresis/toy", *words, WORKERS, n_src=4, KILL_AT="1,2", check=False)
    assert killed.returncode == -9, killed.stderr
    stab("train", f"resume={tmp_path / 'run'}")
    assert_same_saved(tmp_path / "run", tmp_path / "whole")
    tables = [pd.read_csv(tmp_path / run / "metrics.csv").drop(columns="seconds") for run in ("run", "whole")]
    pd.testing.assert_frame_equal(*tables)
    assert tables[0]["train/held"].max() > 0


@pytest.mark.slow
def test_a_run_of_two_processes_equals_one(tmp_path):
    words = [*MARGIN, "trainer.precision=64-true"]
    train(tmp_path / "one", "hysteresis/toy", *words, "loader.batch_size=8", n_src=3)
    two = ["loader.batch_size=4", "trainer=ddp", "trainer.devices=2"]
    train(tmp_path / "two", "hysteresis/toy", *words, *two, n_src=3)
    assert_same_saved(tmp_path / "two", tmp_path / "one", rtol=0, atol=1e-6)
    one, two = (pd.read_csv(tmp_path / run / "metrics.csv") for run in ("one", "two"))
    assert one["train/held"].max() > 0
    pd.testing.assert_series_equal(one["train/held"], two["train/held"])


def assert_same_saved(a, b, **tolerance):
    """The same weights, and the same memories to the bit."""
    saved = [state(run)["state_dict"] for run in (a, b)]
    assert saved[0].keys() == saved[1].keys()
    for name, value in saved[0].items():
        if name.endswith("_extra_state"):
            for layer, bank in value.get("banks", {}).items():
                assert torch.equal(bank["perm"], saved[1][name]["banks"][layer]["perm"])
                assert (bank["perm"] >= 0).all()
        else:
            torch.testing.assert_close(value, saved[1][name], **(tolerance or {"rtol": 0, "atol": 0}))
    assert any("_extra_state" in name for name in saved[0])
