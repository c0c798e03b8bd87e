"""Visits, dropped visits and weights of each item against a slow record, over processes and in saved states."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr
from threads import Threads

from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.losses import Assignment, ExactPITLossWrapper
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers import Comm, ItemWeights, LossThreshold, Reweighting, Stabilization
from asteroid_stab.stabilizers.base import Clock, Step

N = 12


def begun(n=N):
    weights = ItemWeights()
    weights.begin(Items(n, fingerprint="f"))
    return weights


def step_of(ids, loss, n_ranks=1):
    signals = torch.zeros(len(ids), 2, 4)
    perm = torch.arange(2).expand(len(ids), 2)
    return Step(signals, Assignment(loss, perm), signals, Clock(0, 0), None, ids, n_ranks)


def steps(n_ranks=1):
    """Six steps of 4 items: one has no loss, some have the weight 0, weights are of items or of sources."""
    random = torch.Generator().manual_seed(0)
    for k in range(6):
        ids = torch.randperm(N, generator=random)[:4]
        loss = torch.randn(4, 2, generator=random)
        loss[k % 4] = math.nan
        raw = torch.rand((4, 2) if k % 2 else (4,), generator=random)
        raw[(k + 1) % 4] = 0.0
        raw[k % 4] = 0.0
        yield step_of(ids, loss, n_ranks), raw / raw.sum() / n_ranks


def record(steps):
    """visits, dropped visits and weights of every item, in the slowest way."""
    table = {item: [] for item in range(N)}
    for step, weights in steps:
        for row, item in enumerate(step.ids.tolist()):
            if math.isfinite(step.assignment.loss[row].sum()):
                table[item].append(weights[row].sum().item() * 4 * step.n_ranks)
    return [[len(own), own.count(0.0), sum(own) / len(own) if own else 0.0] for own in table.values()]


def test_it_counts_as_a_record_does():
    weights = begun()
    for step, given in steps():
        weights.weighed(step, given)
    assert weights.end_epoch(Comm()) == {}
    assert weights.table.tolist() == [pytest.approx(row, abs=1e-6) for row in record(steps())]
    assert weights.table[:, 1].sum() == 6


def test_it_goes_on_from_a_saved_state_of_the_same_items():
    whole, part, later = begun(), begun(), ItemWeights()
    for k, (step, given) in enumerate(steps()):
        whole.weighed(step, given)
        if k == 3:
            later.load_state_dict(part.state_dict())
            part = later
            part.begin(Items(N, fingerprint="f"))
        part.weighed(step, given)
    assert torch.equal(part.table, whole.table)
    other = ItemWeights()
    other.load_state_dict(whole.state_dict())
    with pytest.raises(StabError, match="items"):
        other.begin(Items(N, fingerprint="g"))
    whole.forget()
    assert not whole.table.any()


def test_processes_are_united_and_epochs_add_up():
    threads, own = Threads(2), [begun() for _ in range(2)]
    parts = list(steps(n_ranks=2))

    def epochs(rank):
        for epoch in range(2):
            for step, given in parts[rank + 2 * epoch :: 4]:
                own[rank].weighed(step, given)
            own[rank].end_epoch(threads.comm(rank))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(epochs, range(2)))
    for weights in own:
        assert weights.table.tolist() == [pytest.approx(row, abs=1e-6) for row in record(parts)]


def test_ids_must_be_stable():
    with pytest.raises(StabError, match=r"ItemWeights.*~callbacks.weights"):
        ItemWeights().check(RunPlan(2, items=Items(N, stable=False)))


@pytest.mark.parametrize(
    "stabilizers", [[], [LossThreshold(0.0)], [Reweighting(alpha=0.5)]], ids=["pit", "drop", "weigh"]
)
def test_in_the_step_the_weights_sum_to_the_number_of_items(stabilizers):
    torch.manual_seed(0)
    sources = torch.randn(N, 2, 80)
    est = sources + torch.linspace(0.5, 3.0, N).view(N, 1, 1) * torch.randn(N, 2, 80)
    weights = ItemWeights()
    stab = Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr), [*stabilizers, weights], items=N)
    stab.begin_epoch(0)
    stab(est, sources, sources.sum(1), torch.arange(N))
    stab.end_epoch()
    visits, dropped, mean = weights.table.unbind(1)
    assert visits.tolist() == [1.0] * N
    assert mean.sum().item() == pytest.approx(N, rel=1e-5)
    assert (mean[dropped > 0] == 0).all()
    if not stabilizers:
        assert torch.allclose(mean, torch.ones(N))
