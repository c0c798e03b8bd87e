"""Switches of each item against a dictionary, over processes and in saved states."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from threads import Threads

from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.stabilizers import Comm, ItemSwitches

N = 12


def begun(fingerprint="f", n=N):
    switches = ItemSwitches()
    switches.begin(Items(n, fingerprint=fingerprint))
    return switches


def visits(seed, items=range(N)):
    """Ids, assignments and metrics of a step; one item has none."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.tensor([*items])[torch.randperm(len(items), generator=random)]
    perm = torch.stack([torch.randperm(2, generator=random) for _ in ids])
    metric = torch.rand(len(ids), generator=random)
    metric[0] = math.nan
    return ids, perm, metric


class Slow:
    """The count, item by item."""

    def __init__(self):
        self.last, self.n = {}, dict.fromkeys(range(N), 0)

    def visit(self, ids, perm, metric):
        for i, p, m in zip(ids.tolist(), perm.tolist(), metric.tolist(), strict=True):
            if math.isfinite(m):
                self.n[i] += i in self.last and self.last[i] != p
                self.last[i] = p
        return [self.n[i] for i in ids.tolist()]


def test_it_counts_as_a_dictionary_does_and_goes_on_from_a_saved_state(tmp_path):
    switches, slow = begun(), Slow()
    assert switches.state_dict() is None
    for seed in range(20):
        ids, perm, metric = visits(seed)
        assert switches.visit(ids, perm, metric).tolist() == slow.visit(ids, perm, metric)
        if seed == 9:
            torch.save(switches.state_dict(), tmp_path / "state.pt")
            switches = ItemSwitches()
            switches.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
            assert switches.state_dict()["counts"].tolist() == [*slow.n.values()]
            switches.begin(Items(N, fingerprint="f"))
    assert max(slow.n.values()) > 3
    switches.forget()
    assert switches.visit(*visits(0)).tolist() == [0] * N


def test_processes_unite_their_counts():
    """Two processes, an item now on the one and now on the other; and an item that was visited by none of them."""
    threads, slow = Threads(2), Slow()

    def steps(rank):
        return [visits(10 * epoch + rank, [i for i in range(N - 1) if (i + epoch) % 2 == rank]) for epoch in range(6)]

    def run(rank):
        switches = begun()
        for step in steps(rank):
            switches.visit(*step)
            switches.merge(threads.comm(rank))
        return switches.counts.tolist()

    with ThreadPoolExecutor(2) as pool:
        counts = [*pool.map(run, range(2))]
    for both in zip(steps(0), steps(1), strict=True):
        for step in both:
            slow.visit(*step)
    assert counts[0] == counts[1] == [*slow.n.values()]
    begun().merge(Comm())  # before the first visit there is nothing to unite


def test_a_state_of_other_items_is_refused():
    switches = begun()
    switches.visit(*visits(0))
    other = ItemSwitches()
    other.load_state_dict(switches.state_dict())
    with pytest.raises(StabError, match="saved with 12 for items, this run has 9"):
        other.begin(Items(9))
    with pytest.raises(StabError, match="trained on items with fingerprint f, these 12 have g"):
        switches.begin(Items(N, fingerprint="g"))
