"""Data map: mean, spread and switches of every training item, watched or weighed by."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.items import Items
from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers.base import Clock, Stabilizer, Step, StepObserver
from asteroid_stab.stabilizers.comm import Comm
from asteroid_stab.stabilizers.item_scores import ItemScores
from asteroid_stab.stabilizers.item_switches import ItemSwitches
from asteroid_stab.stabilizers.step_metrics import METRICS, metric_of_layer, metric_of_mixture
from asteroid_stab.stabilizers.sums import EpochSums


class DataMap(StepObserver):
    """Keeps mean and spread of each training item's metric over its visits, and the number of its switches.

    The map of Swayamdipta et al., with a metric in dB in place of the probability of the right class: items of high
    mean and low spread are easy, of low mean and low spread hard (or noise), of high spread ambiguous. It changes
    nothing; :class:`DataMapWeighting` weighs by it. A switch is a visit with another assignment of the last layer than
    the visit before.

    Figure: ``item_spread``, the mean spread of the items that were visited, in dB.

    Args:
        metric: measured on the training crop in dB: ``si_sdr``, ``sdr``, or their improvements over the mixture,
            ``si_sdr_i`` and ``sdr_i``. The default costs nothing where it is the loss.
        decay: weight of a visit beside the next one, see :class:`ItemScores`.

    Raises:
        ValueError: an argument is out of its range.
        StabError: the items have no stable ids, or saved state belongs to other items.

    References:
        Swayamdipta et al., "Dataset cartography: mapping and diagnosing datasets with training dynamics", EMNLP 2020,
        arXiv 2009.10795: the map.
    """

    remembers_items = True
    without = "~callbacks.data_map"

    def __init__(self, metric: str = "si_sdr", decay: float = 1.0):
        _check_metric(metric)
        self.metric = metric
        self.scores, self.switches = ItemScores(decay), ItemSwitches()

    @property
    def needs_mixture(self) -> bool:  # type: ignore[override]
        """True where the metric is an improvement over the mixture."""
        return self.metric.endswith("_i")

    @property
    def table(self) -> Tensor:
        """float32 [N, 4] visits, mean, spread and switches of every item, on the CPU; 0 where there was no visit."""
        switches = self.switches.counts.cpu()
        none_yet = self.switches.last is None
        n, mean, spread = (column.cpu() for column in self.scores.all())
        return torch.stack([n, mean, spread, torch.zeros_like(n) if none_yet else switches.to(n.dtype)], 1)

    def begin(self, items: Items) -> None:
        self.scores.begin(items)
        self.switches.begin(items)

    def forget(self) -> None:
        """Empties the map."""
        self.scores.forget()
        self.switches.forget()

    def observe(self, step: Step) -> None:
        """Takes the metrics and assignments of a step."""
        score = _score(step, self.metric)
        self.scores.visit(step.ids, score)
        self.switches.visit(step.ids, step.perm, score)

    def end_epoch(self, comm: Comm) -> dict[str, float]:
        """Unites the maps of the processes."""
        self.scores.merge(comm)
        self.switches.merge(comm)
        n, _, spread = self.scores.all()
        visited = n > 0
        return {"item_spread": spread[visited].mean().item()} if visited.any() else {}

    def state_dict(self) -> dict[str, Any]:
        """Returns the map."""
        return {"scores": self.scores.state_dict(), "switches": self.switches.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes a saved map, which :meth:`begin` checks once the items are known."""
        self.scores.load_state_dict(state_dict["scores"])
        self.switches.load_state_dict(state_dict["switches"])


class DataMapWeighting(Stabilizer):
    r"""Weighs an item by the mean and the spread of its metric over its earlier visits.

    .. math:: F_i = a\, (\mu_i - \bar\mu) + b\, (\sigma_i - \bar\sigma)

    with a = ``per_mean_db``, b = ``per_spread_db``, and the means of both over all items that have been visited often
    enough, at the end of the epoch before. Other items have F = 0, the average one. The weights are the softmax of F
    over the batches of all processes. With b above 0, items whose metric moves weigh more (the ambiguous ones of the
    map); with a below 0 the hard ones do, with a above 0 the easy ones. At a = b = 0, the default, this is plain PIT to
    the bit.

    The present visit changes the map after it was weighed. Figures: ``map_mean`` and ``map_spread``, the two means in
    dB; ``map_known``, share of the items with a loss that were weighed by their place on the map.

    Args:
        per_mean_db: a, per dB of the mean metric.
        per_spread_db: b, per dB of the spread.
        least_visits: visits of an item before it is weighed by them, at least 2: one visit has no spread.
        metric: as in :class:`DataMap`.
        decay: weight of a visit beside the next one, see :class:`ItemScores`.

    Raises:
        ValueError: an argument is out of its range.
        StabError: the items have no stable ids, or saved state belongs to other items.

    References:
        The map: Swayamdipta et al., "Dataset cartography: mapping and diagnosing datasets with training dynamics",
        EMNLP 2020, arXiv 2009.10795, who train on a part of it. The weights are ours.
    """

    remembers_items = True

    def __init__(
        self,
        per_mean_db: float = 0.0,
        per_spread_db: float = 0.0,
        least_visits: int = 2,
        metric: str = "si_sdr",
        decay: float = 1.0,
    ):
        for name, value in (("per_mean_db", per_mean_db), ("per_spread_db", per_spread_db)):
            if not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value}")
        if least_visits < 2:
            raise ValueError(f"least_visits must be at least 2, got {least_visits}")
        _check_metric(metric)
        self.per_mean_db, self.per_spread_db, self.metric = float(per_mean_db), float(per_spread_db), metric
        self.least_visits = least_visits
        self.scores = ItemScores(decay)
        self._centre: tuple[float, float] | None = None  # means of mean and spread at the end of the last epoch
        self._sums = EpochSums()

    @property
    def needs_mixture(self) -> bool:  # type: ignore[override]
        """True where the metric is an improvement over the mixture."""
        return self.metric.endswith("_i")

    def neutral(self, plan: RunPlan) -> str | None:
        """Returns which argument weighs all alike."""
        if not self.per_mean_db and not self.per_spread_db:
            return (
                "per_mean_db=0 and per_spread_db=0 weigh all items alike (set stabilizer.data_map.per_spread_db, or "
                "watch the map with callbacks=[tracker,data_map])"
            )
        if plan.max_epochs is not None and 0 <= plan.max_epochs <= self.least_visits:
            return f"in {plan.max_epochs} epochs no item is weighed after least_visits={self.least_visits} visits"
        return None

    def begin(self, items: Items) -> None:
        self.scores.begin(items)

    def forget(self) -> None:
        """Empties the map."""
        self.scores.forget()
        self._centre = None

    def begin_epoch(self, clock: Clock) -> None:
        self._sums.reset()

    def logits(self, step: Step) -> Tensor:
        """Returns F of every item ``[B]``, and puts its metric on the map."""
        score = _score(step, self.metric)
        n, mean, spread = self.scores.lookup(step.ids)
        self.scores.visit(step.ids, score)
        if self._centre is None:
            known = torch.zeros_like(n, dtype=torch.bool)
            logits = torch.zeros_like(mean)
        else:
            known = n >= self.least_visits
            at_mean, at_spread = self._centre
            logits = self.per_mean_db * (mean - at_mean) + self.per_spread_db * (spread - at_spread)  # F, see the class
        defined = torch.isfinite(score)
        self._sums.add(known=known & defined, defined=defined)
        return torch.where(known, logits, 0.0)

    def end_epoch(self, comm: Comm) -> dict[str, float]:
        """Unites the maps of the processes, and measures the means that the next epoch is weighed around."""
        self.scores.merge(comm)
        n, mean, spread = self.scores.all()
        known = n >= self.least_visits
        self._centre = (mean[known].mean().item(), spread[known].mean().item()) if known.any() else None
        sums = self._sums.total(["known", "defined"], comm.gather_or_none)
        figures = {"map_known": sums["known"] / sums["defined"]} if sums["defined"] else {}
        if self._centre is None:
            return figures
        return {**figures, "map_mean": self._centre[0], "map_spread": self._centre[1]}

    def state_dict(self) -> dict[str, Any]:
        """Returns the map, its centre, and the counts of the present epoch."""
        centre = None if self._centre is None else list(self._centre)
        return {"scores": self.scores.state_dict(), "centre": centre, "sums": self._sums.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes a saved map, which :meth:`begin` checks once the items are known."""
        self.scores.load_state_dict(state_dict["scores"])
        centre = state_dict["centre"]
        self._centre = None if centre is None else (centre[0], centre[1])
        self._sums.load_state_dict(state_dict["sums"])


def _check_metric(metric: str) -> None:
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")


def _score(step: Step, metric: str) -> Tensor:
    """Metric of the items [B] under the assignment of the last layer; not finite for an item without a loss."""
    score = -item_loss(metric_of_mixture(step, metric) - metric_of_layer(step, metric, -1, step.perm))
    return score.masked_fill(~torch.isfinite(item_loss(step.assignment.loss)), torch.nan)
