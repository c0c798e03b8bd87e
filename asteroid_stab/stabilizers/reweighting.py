"""Gradient reweighting: weighs the items of a batch by a softmax over a function of their losses."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from asteroid_stab.errors import StabError, nearest
from asteroid_stab.items import Items
from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.precision import precise_dtype
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers.base import Clock, Stabilizer, Step
from asteroid_stab.stabilizers.comm import Comm
from asteroid_stab.stabilizers.sums import EpochSums

log = logging.getLogger(__name__)

LEVELS = ("source", "mixture")
MOST_STEEP = 1e4  # per dB; the softmax is a choice of one item long before
MOST_EPOCHS = 10_000  # of a schedule that is looked through for a value that is not 0


class Reweighting(Stabilizer):
    r"""Weighs by a softmax of F over the batches of all ranks: :math:`F = (\alpha + \beta(k))\, L + \gamma_c`.

    L is the negative SI-SDR (improvement) in dB under the assignment that the loss chose; a low L is an easy source.
    With ``alpha`` above 0, hard sources weigh more: the model becomes robust, and its mean score falls. A ``schedule``
    below 0 gives easy sources more weight; where it rises to 0, the training ends with the plain mean: a curriculum.
    ``class_bias`` multiplies the weight of a class' sources by exp(gamma). The weights carry no gradient and do not
    change the assignment.

    With one source in the global batch (and with one mixture at ``level`` mixture) every weight is 1. Accumulated
    batches are weighed one by one, which differs from one large batch. With a loss that has one value for each item
    (ProbPIT), the level is always ``mixture``.

    Args:
        alpha: steepness, per dB; at 0, without a schedule, every weight is the same and the loss the plain mean.
        schedule: gives ``beta`` for each epoch or step, per dB; None is 0.
        schedule_unit: ``epoch`` or ``step``: what the schedule counts, from 0.
        level: ``source``: every source of the batch has a weight of its own, as in the authors' code;
            ``mixture``: one for each mixture, from the mean of its sources, as the equation is printed.
        improvement: whether L is the negative improvement over the mixture (as in the authors' code) or the negative
            SI-SDR.
        clamp_db: bound on the size of L in F; None: no bound.
        class_bias: pairs of a class' name and its gamma, which is 0 for the others. At ``level`` mixture a mixture's is
            the mean of its sources'. (Pairs and no mapping, which an override could add to but not replace.)

    Raises:
        ValueError: an argument is out of its range.
        StabError: the schedule gives something that is no number, the items have no classes, or a class is none of
            theirs.

    References:
        Tzinis, Bralios, Smaragdis, "Unified gradient reweighting for model biasing with applications to source
        separation", ICASSP 2021, arXiv 2010.13228, eq. (3) to (6), and the class bias of the poster.
    """

    def __init__(
        self,
        alpha: float = 0.0,
        schedule: Callable[[int], float] | None = None,
        schedule_unit: str = "epoch",
        level: str = "source",
        improvement: bool = True,
        clamp_db: float | None = None,
        class_bias: Sequence[Sequence[Any]] = (),
    ):
        if not abs(alpha) <= MOST_STEEP:
            raise ValueError(f"alpha must be a number from -{MOST_STEEP:g} to {MOST_STEEP:g}, got {alpha}")
        if schedule_unit not in ("epoch", "step"):
            raise ValueError(f"schedule_unit must be epoch or step, got {schedule_unit!r}")
        if level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
        if clamp_db is not None and not clamp_db > 0:
            raise ValueError(f"clamp_db must be above 0, got {clamp_db}")
        self.alpha, self.schedule, self.schedule_unit = alpha, schedule, schedule_unit
        self.level, self.improvement, self.clamp_db = level, improvement, clamp_db
        self.class_bias: dict[str, float] = {}
        for pair in class_bias:
            if len(pair) != 2 or isinstance(pair, str) or not _is_number(pair[1]):
                raise ValueError(f"class_bias must be pairs of a class and a number, got {pair}")
            if str(pair[0]) in self.class_bias:
                raise ValueError(f"class_bias must name a class once, got {pair[0]!r} twice")
            self.class_bias[str(pair[0])] = float(pair[1])
        self._gamma: Tensor | None = None  # [N, J] of every source of every item
        self._warned = False
        self._sums = EpochSums()

    @property
    def remembers_items(self) -> bool:  # type: ignore[override]
        """True with a class bias, which looks up the classes of an item by its id."""
        return bool(self.class_bias)

    @property
    def needs_mixture(self) -> bool:  # type: ignore[override]
        """True where it goes by the improvement over the mixture."""
        return self.improvement

    def check(self, plan: RunPlan) -> None:
        super().check(plan)
        if self.class_bias:
            self._bias_of(plan.items)

    @property
    def weighs_sources(self) -> bool:  # type: ignore[override]
        """True at the level of sources, unless all weigh the same."""
        return self.level == "source" and (self.alpha != 0 or self.schedule is not None or bool(self.class_bias))

    def neutral(self, plan: RunPlan) -> str | None:
        """Returns which arguments weigh all alike."""
        if self.alpha != 0 or any(self.class_bias.values()):
            return None
        bias = "class_bias favours none" if self.class_bias else "there is no class_bias"
        if self.schedule is None:
            return f"alpha=0, there is no schedule, and {bias}, so that all weigh the same"
        n_epochs = plan.max_epochs
        countable = self.schedule_unit == "epoch" and n_epochs is not None and 0 <= n_epochs <= MOST_EPOCHS
        if countable and not any(map(self._beta, range(n_epochs or 0))):
            return f"alpha=0, the schedule is 0 in all {n_epochs} epochs, and {bias}, so that all weigh the same"
        return None

    def begin(self, items: Items) -> None:
        """Looks up the classes that are favoured."""
        self._gamma = None
        if self.class_bias:
            self._gamma = self._bias_of(items)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Warns of a schedule that does not end within the training."""
        count = trainer.max_epochs if self.schedule_unit == "epoch" else trainer.estimated_stepping_batches
        last = int(count) - 1 if count is not None and 0 < count < math.inf else None
        if last is not None and self._beta(last) != 0:
            log.warning(
                "the schedule of the reweighting does not end: beta is %g in the last of %d %ss, so the losses are "
                "still weighed there", self._beta(last), last + 1, self.schedule_unit,
            )  # fmt: skip

    def _bias_of(self, items: Items) -> Tensor:
        if items.labels is None:
            raise StabError(f"class_bias needs sources with classes, and {items.kind} has none")
        if wrong := next((name for name in self.class_bias if name not in items.classes), None):
            known = ", ".join(items.classes)
            raise StabError(f"class_bias must name classes of {known}, got {wrong!r}{nearest(wrong, items.classes)}")
        gamma = torch.tensor([float(self.class_bias.get(name, 0.0)) for name in items.classes])
        labels = torch.from_numpy(items.labels)
        if (lacks := (labels < 0).any(1)).any():
            which = int(lacks.nonzero()[0])
            name = which if items.names is None else items.names[which]
            raise StabError(f"class_bias needs a class for every source, and one of {name!r} has none")
        return gamma[labels]

    def steepness(self, epoch: int, step: int) -> float:
        """Alpha plus beta, per dB.

        Raises:
            StabError: the schedule gives what is no number.
        """
        return self.alpha + self._beta(epoch if self.schedule_unit == "epoch" else step)

    def _beta(self, k: int) -> float:
        beta = 0.0 if self.schedule is None else self.schedule(k)
        if not _is_number(beta):
            raise StabError(
                f"the schedule of the reweighting must give numbers, got {beta} for {self.schedule_unit} {k}"
            )
        return beta

    def logits(self, step: Step) -> Tensor:
        """Returns F of every source ``[B, J]`` or mixture ``[B]``; 0 where the loss is undefined and has no weight.

        Where F is 0 everywhere it is ``[B]``: the mean is then that of a training without this callback, to the bit.
        """
        loss = step.source_loss_i if self.improvement else step.source_loss
        gamma = None if self._gamma is None else self._gamma_of(step.ids).to(loss)
        defined = torch.isfinite(loss)
        if self.level == "mixture" or step.assignment.loss.ndim == 1:
            loss = torch.where(defined, loss, 0.0).sum(1) / defined.sum(1).clamp_min(1)
            gamma, defined = None if gamma is None else gamma.mean(1), defined.any(1)
        if self.clamp_db is not None:
            loss = loss.clamp(-self.clamp_db, self.clamp_db)
        steepness = self.steepness(*step.clock)
        if steepness == 0 and gamma is None:
            return loss.new_zeros(len(loss))
        return torch.where(defined, steepness * loss + (0.0 if gamma is None else gamma), 0.0)

    def _gamma_of(self, ids: Tensor) -> Tensor:
        assert self._gamma is not None
        if self._gamma.device != ids.device:
            self._gamma = self._gamma.to(ids.device)
        return self._gamma[ids]

    def weighed(self, step: Step, weights: Tensor) -> None:
        """Counts how unequal the weights of this process' batch are, with what all stabilizers contribute."""
        loss = step.assignment.loss if weights.ndim == step.assignment.loss.ndim else item_loss(step.assignment.loss)
        if weights.numel() * step.n_ranks == 1 and not self._warned:
            log.warning(
                "reweighting has no effect: with one %s in a batch every weight is 1",
                "source" if weights.ndim == 2 else "mixture",
            )
            self._warned = True
        counted = torch.isfinite(loss)
        dtype = precise_dtype(weights.device)
        weights = torch.where(counted, weights, 0.0).to(dtype)
        total, n_counted = weights.sum(), counted.sum()
        weights = weights / torch.where(total > 0, total, 1.0)
        entropy = -(weights * weights.clamp_min(max(1e-300, torch.finfo(dtype).tiny)).log()).sum()
        # The effective size over the size is 1 where all weigh the same.
        squares = weights.square().sum() * n_counted
        effective = torch.where(total > 0, 1 / torch.where(total > 0, squares, 1.0), 0.0)
        self._sums.add(
            steps=total > 0, effective=effective, entropy=entropy, top=weights.max() if weights.numel() else total
        )

    def begin_epoch(self, clock: Clock) -> None:
        self._sums.reset()

    def end_epoch(self, comm: Comm) -> dict[str, float]:
        """Returns means over the epoch's batches: ``effective_share`` (1: all weigh the same), ``weight_entropy``
        (nats) and ``top_weight``."""
        sums = self._sums.total(["steps", "effective", "entropy", "top"], comm.gather_or_none)
        if not sums["steps"]:
            return {}
        names = {"effective_share": "effective", "weight_entropy": "entropy", "top_weight": "top"}
        return {name: sums[key] / sums["steps"] for name, key in names.items()}

    def state_dict(self) -> dict[str, Any]:
        """Returns the sums of the present epoch; what it weighs by is a function of the clock."""
        return {"sums": self._sums.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a saved state."""
        self._sums.load_state_dict(state_dict["sums"])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
