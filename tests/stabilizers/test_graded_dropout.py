"""Graded dropout against a slow reference, and beside sample dropout."""

import math

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.losses import Assignment, ExactPITLossWrapper
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers import Comm, GradedDropout, SampleDropout, Stabilization
from asteroid_stab.stabilizers.base import Clock, Step

N = 20


def steps(n_src=3, n_epochs=8):
    """Metrics that rise and fall, one of them not finite, and assignments that switch."""
    random = torch.Generator().manual_seed(n_src)
    for epoch in range(n_epochs):
        ids = torch.randperm(N, generator=random)[:16]
        metric = torch.rand(16, generator=random, dtype=torch.float64) * 6 + epoch / 4
        metric[0] = math.nan if epoch % 2 else -math.inf
        perm = torch.stack([torch.randperm(n_src, generator=random) for _ in ids])
        loss = -metric.unsqueeze(1).expand(-1, n_src)
        signals = torch.zeros(16, n_src, 4)
        yield Step(signals, Assignment(loss, perm, neg_si_sdr=loss), signals, Clock(epoch, 0), signals[:, 0], ids)


def logits_of(part):
    part.begin(Items(N, fingerprint="f"))
    made = []
    for step in steps():
        part.begin_epoch(step.clock)
        made.append(part.logits(step))
    return made


def slow_logits(epsilon, drop_logit, per_db, per_switch, relative=False, keep_same=True):
    """The rule of the class, item by item, in float64; None where an item has no loss."""
    best, last, n = {}, {}, dict.fromkeys(range(N), 0)
    for step in steps():
        of_step = []
        for i, m, p in zip(step.ids.tolist(), step.si_sdr.tolist(), step.perm.tolist(), strict=True):
            if not math.isfinite(m):
                of_step.append(None)
                continue
            n[i] += i in last and last[i] != p
            last[i] = p
            logit = 0.0
            if i in best:
                most, of_best = best[i]
                least = most - (epsilon * abs(most) if relative else epsilon)
                if not ((keep_same and p == of_best) or m >= least):
                    logit = drop_logit - per_db * (least - m) - per_switch * n[i]
            if i not in best or m > best[i][0]:
                best[i] = m, p
            of_step.append(logit)
        yield of_step


@pytest.mark.parametrize("epsilon", [0.0, 0.7])
@pytest.mark.parametrize(("drop_logit", "per_db", "per_switch"), [(0.0, 0.3, 0.0), (0.0, 0.0, 0.5), (-1.0, 0.2, 0.1)])
@pytest.mark.parametrize("further", [{}, {"keep_same": False}, {"relative": True}])
def test_the_logits_are_the_references(epsilon, drop_logit, per_db, per_switch, further):
    slopes = {"drop_logit": drop_logit, "per_db": per_db, "per_switch": per_switch}
    part = GradedDropout(epsilon, **slopes, **further)
    n_dropped = 0
    for got, wanted in zip(logits_of(part), slow_logits(epsilon, **slopes, **further), strict=True):
        for logit, slow in zip(got.tolist(), wanted, strict=True):
            if slow is not None:
                assert logit == pytest.approx(slow, abs=1e-5)
                n_dropped += slow < 0
    assert n_dropped > 5


@pytest.mark.parametrize("drop_logit", [-0.5, -math.inf])
@pytest.mark.parametrize("further", [{}, {"keep_same": False}, {"warm_up_epochs": 3}, {"reset_every_epochs": 2}])
def test_without_slopes_it_is_sample_dropout_to_the_bit(drop_logit, further):
    graded = logits_of(GradedDropout(0.1, drop_logit=drop_logit, **further))
    plain = logits_of(SampleDropout(0.1, drop_logit=drop_logit, **further))
    assert all(torch.equal(a, b) for a, b in zip(graded, plain, strict=True))
    assert any((a < 0).any() for a in plain)


def test_the_mean_weight_of_dropped_items_is_reported():
    part = GradedDropout(0.0, per_db=0.3)
    part.begin(Items(N))
    part.begin_epoch(Clock(0, 0))
    weights = []
    for step in steps():
        logits = part.logits(step)
        weights += logits[(logits < 0) & step.si_sdr.isfinite()].exp().tolist()
    assert part.end_epoch(Comm())["dropped_weight"] == pytest.approx(sum(weights) / len(weights))
    part.begin_epoch(Clock(1, 0))
    part.forget()
    part.logits(next(steps()))  # first visits: none is dropped
    assert "dropped_weight" not in part.end_epoch(Comm())


def test_a_logit_stays_within_half_precision():
    part = GradedDropout(0.0, keep_same=False, per_db=1e9)
    least = torch.cat(logits_of(part)).min()
    assert least == -1e4


def test_what_cannot_work_is_refused():
    for name in ("per_db", "per_switch"):
        for wrong in (-0.1, math.inf, math.nan):
            with pytest.raises(ValueError, match=f"{name} must be a number of at least 0, got {wrong}"):
                GradedDropout(1.0, **{name: wrong})
    with pytest.raises(ValueError, match="drop_logit must be at most 0, from -10000 on or -inf, got 0.5"):
        GradedDropout(1.0, drop_logit=0.5)
    with pytest.raises(ValueError, match="nothing to grade, got per_db=0.1 and per_switch=0.0: set drop_logit=0"):
        GradedDropout(1.0, drop_logit=-math.inf, per_db=0.1)
    with pytest.raises(StabError, match=r"stabilizer.graded.layers=any\) needs a model"):
        GradedDropout(1.0, per_db=1.0, layers="any").check(RunPlan(2, loss=ExactPITLossWrapper(pairwise_neg_sisdr)))
    with pytest.raises(StabError, match="GradedDropout needs stable ids"):
        Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr), [GradedDropout()], Items(3, stable=False))


def test_what_changes_nothing_is_declared():
    def why(**arguments):
        return GradedDropout(**arguments).neutral(RunPlan(2, max_epochs=9))

    assert why(epsilon_db=1.0).startswith("drop_logit=0, per_db=0 and per_switch=0 leave every item its weight")
    assert "(stabilizer.graded.epsilon_db=1.0, say, drops some)" in why(per_db=1.0)
    assert why(epsilon_db=1.0, per_switch=0.1) is None
    assert why(epsilon_db=1.0, drop_logit=-1.0) is None
