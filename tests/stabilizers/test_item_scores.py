"""Mean and spread of each item against the list of its scores, over processes and in saved states."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from threads import Threads

from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.stabilizers import Comm, ItemScores

N = 12


def begun(decay=1.0, fingerprint="f", n=N):
    scores = ItemScores(decay)
    scores.begin(Items(n, fingerprint=fingerprint))
    return scores


def visits(seed, items=range(N)):
    """Ids and scores of a step, far from 0 so that cancellation would show; one item has none."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.tensor([*items])[torch.randperm(len(items), generator=random)]
    score = 100 + 3 * torch.randn(len(ids), generator=random)
    score[0] = (math.nan, math.inf, -math.inf)[seed % 3]
    return ids, score


class Slow:
    """Every score of every item, in float64."""

    def __init__(self, decay):
        self.decay, self.scores = decay, {i: [] for i in range(N)}

    def visit(self, ids, score):
        for i, m in zip(ids.tolist(), score.tolist(), strict=True):
            if math.isfinite(m):
                self.scores[i].append(m)

    def row(self, item):
        own = self.scores[item]
        if not own:
            return [0, 0.0, 0.0]
        weights = [self.decay ** (len(own) - 1 - v) for v in range(len(own))]
        mean = sum(w * m for w, m in zip(weights, own, strict=True)) / sum(weights)
        squares = sum(w * (m - mean) ** 2 for w, m in zip(weights, own, strict=True))
        return [len(own), mean, math.sqrt(squares / sum(weights))]

    def check(self, scores):
        got = torch.stack(scores.all(), 1).tolist()
        for item in range(N):
            assert got[item] == pytest.approx(self.row(item), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("decay", [1.0, 0.6])
def test_it_measures_as_a_list_does_and_goes_on_from_a_saved_state(tmp_path, decay):
    scores, slow = begun(decay), Slow(decay)
    for seed in range(20):
        ids, score = visits(seed, range(N - 1))
        n, mean, spread = scores.lookup(ids)
        for i, row in zip(ids.tolist(), torch.stack([n, mean, spread], 1).tolist(), strict=True):
            assert row == pytest.approx(slow.row(i), rel=1e-4, abs=1e-4)
        scores.visit(ids, score)
        slow.visit(ids, score)
        if seed == 9:
            torch.save(scores.state_dict(), tmp_path / "state.pt")
            before = scores.table
            scores = ItemScores(decay)
            scores.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
            scores.begin(Items(N, fingerprint="f"))
            assert torch.equal(scores.table, before)
    slow.check(scores)
    assert max(slow.row(i)[2] for i in range(N)) > 2
    scores.forget()
    assert not torch.stack(scores.all()).any()


@pytest.mark.parametrize("decay", [1.0, 0.6])
def test_processes_unite_what_they_know(decay):
    """An item now on the one and now on the other; one that both visited, which counts for the first; one for none."""
    threads, slow = Threads(2), Slow(decay)

    def steps(rank):
        own = [[i for i in range(2, N - 1) if (i + epoch) % 2 == rank] for epoch in range(6)]
        return [visits(10 * epoch + rank, [*items, 1]) for epoch, items in enumerate(own)]

    def run(rank):
        scores = begun(decay)
        for step in steps(rank):
            scores.visit(*step)
            scores.merge(threads.comm(rank))
        return scores

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(run, range(2))
    for one, other in zip(steps(0), steps(1), strict=True):
        slow.visit(*one)
        ids, score = other
        if (one[0] == 1)[one[1].isfinite()].any():
            score = score.masked_fill(ids == 1, math.nan)
        slow.visit(ids, score)
    assert torch.equal(first.table, second.table)
    slow.check(first)
    begun().merge(Comm())  # one process has nothing to unite


def test_what_cannot_work_is_refused():
    for wrong in (0.0, -0.5, 1.1, math.nan):
        with pytest.raises(ValueError, match=f"decay must be above 0 and at most 1, got {wrong}"):
            ItemScores(wrong)
    scores = begun()
    with pytest.raises(StabError, match="fingerprint f, these 12 have g"):
        scores.begin(Items(N, fingerprint="g"))
    other = ItemScores()
    other.load_state_dict(scores.state_dict())
    with pytest.raises(StabError, match="trained on 12 items, these are 9"):
        other.begin(Items(9))
