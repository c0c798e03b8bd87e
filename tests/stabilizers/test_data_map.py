"""The map and its weights against a slow reference."""

import math

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.losses import Assignment, ExactPITLossWrapper
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers import Comm, DataMap, DataMapWeighting, Stabilization
from asteroid_stab.stabilizers.base import Clock, Step

N, EPOCHS = 20, 6


def steps(n_src=3):
    """Two steps an epoch over 18 of 20 items; one metric of each is not finite."""
    random = torch.Generator().manual_seed(n_src)
    for epoch in range(EPOCHS):
        order = torch.randperm(N, generator=random)
        for part in range(2):
            ids = order[9 * part : 9 * part + 9]
            metric = torch.randn(9, generator=random, dtype=torch.float64) * 3 + epoch + ids / 4
            metric[0] = math.nan if epoch % 2 else -math.inf
            perm = torch.stack([torch.randperm(n_src, generator=random) for _ in ids])
            loss = -metric.unsqueeze(1).expand(-1, n_src)
            signals = torch.zeros(9, n_src, 4)
            yield Step(signals, Assignment(loss, perm, neg_si_sdr=loss), signals, Clock(epoch, 0), None, ids)


def mean_and_spread(scores):
    mean = sum(scores) / len(scores)
    return mean, math.sqrt(sum((m - mean) ** 2 for m in scores) / len(scores))


def by_epoch():
    both = list(steps())
    return [both[i : i + 2] for i in range(0, len(both), 2)]


@pytest.mark.parametrize(("per_mean", "per_spread", "least"), [(-0.3, 0.0, 2), (0.0, 0.5, 2), (0.2, -0.4, 4)])
def test_the_logits_are_the_references(per_mean, per_spread, least):
    part = DataMapWeighting(per_mean, per_spread, least)
    part.begin(Items(N, fingerprint="f"))
    scores, centre, n_weighed = {i: [] for i in range(N)}, None, 0
    for epoch, of_epoch in enumerate(by_epoch()):
        part.begin_epoch(Clock(epoch, 0))
        n_known = n_defined = 0
        for step in of_epoch:
            for i, m, logit in zip(step.ids.tolist(), step.si_sdr.tolist(), part.logits(step).tolist(), strict=True):
                wanted = 0.0
                if centre is not None and len(scores[i]) >= least:
                    mean, spread = mean_and_spread(scores[i])
                    wanted = per_mean * (mean - centre[0]) + per_spread * (spread - centre[1])
                    n_known += math.isfinite(m)
                assert logit == pytest.approx(wanted, abs=1e-4)
                n_weighed += abs(wanted) > 0.1
                if math.isfinite(m):
                    n_defined += 1
                    scores[i].append(m)
        figures = part.end_epoch(Comm())
        known = [mean_and_spread(own) for own in scores.values() if len(own) >= least]
        centre = [sum(column) / len(known) for column in zip(*known, strict=True)] if known else None
        assert figures["map_known"] == pytest.approx(n_known / n_defined)
        assert [figures.get("map_mean"), figures.get("map_spread")] == (
            [None, None] if centre is None else pytest.approx(centre, rel=1e-4)
        )
    assert n_weighed > 10


def test_the_map_has_visits_means_spreads_and_switches():
    part = DataMap()
    part.begin(Items(N, fingerprint="f"))
    assert part.table.shape == (N, 4)
    assert not part.table.any()
    scores, last, n_switches = {i: [] for i in range(N)}, {}, dict.fromkeys(range(N), 0)
    for epoch, of_epoch in enumerate(by_epoch()):
        part.begin_epoch(Clock(epoch, 0))
        for step in of_epoch:
            part.observe(step)
            for i, m, perm in zip(step.ids.tolist(), step.si_sdr.tolist(), step.perm.tolist(), strict=True):
                if math.isfinite(m):
                    scores[i].append(m)
                    n_switches[i] += i in last and last[i] != perm
                    last[i] = perm
        figures = part.end_epoch(Comm())
    for i, row in enumerate(part.table.tolist()):
        assert row == pytest.approx([len(scores[i]), *mean_and_spread(scores[i]), n_switches[i]], rel=1e-4, abs=1e-4)
    spreads = [mean_and_spread(own)[1] for own in scores.values()]
    assert figures == {"item_spread": pytest.approx(sum(spreads) / N, rel=1e-4)}
    assert max(n_switches.values()) > 2
    part.forget()
    assert not part.table.any()


def test_an_epoch_without_a_metric_has_no_figures():
    for part in (DataMap(), DataMapWeighting(1.0)):
        part.begin(Items(N))
        part.begin_epoch(Clock(0, 0))
        assert part.end_epoch(Comm()) == {}


def test_what_cannot_work_is_refused():
    for name in ("per_mean_db", "per_spread_db"):
        for wrong in (math.inf, math.nan):
            with pytest.raises(ValueError, match=f"{name} must be a finite number, got {wrong}"):
                DataMapWeighting(**{name: wrong})
    with pytest.raises(ValueError, match="least_visits must be at least 2, got 1"):
        DataMapWeighting(least_visits=1)
    for cls in (DataMap, DataMapWeighting):
        with pytest.raises(ValueError, match="metric must be one of si_sdr, si_sdr_i, sdr, sdr_i, got 'snr'"):
            cls(metric="snr")
        with pytest.raises(StabError, match=f"{cls.__name__} needs stable ids"):
            Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr), [cls()], Items(3, stable=False))
        part = cls(metric="si_sdr_i")
        part.begin(Items(N))
        look = part.observe if cls is DataMap else part.logits
        with pytest.raises(ValueError, match="an improvement is over the mixture: call the stabilization with mix"):
            look(next(steps()))


def test_what_changes_nothing_is_declared():
    def why(max_epochs=9, **arguments):
        return DataMapWeighting(**arguments).neutral(RunPlan(2, max_epochs=max_epochs))

    assert why().startswith("per_mean_db=0 and per_spread_db=0 weigh all items alike")
    assert why(2, per_mean_db=1.0) == "in 2 epochs no item is weighed after least_visits=2 visits"
    assert why(3, per_spread_db=-1.0) is None
    assert why(None, per_spread_db=-1.0) is None
    assert DataMap().neutral(RunPlan(2)) is None
