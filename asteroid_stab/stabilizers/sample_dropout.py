"""Dynamic sample dropout: leaves out items that would spoil the assignments learnt so far."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers.bank import AssignmentBank
from asteroid_stab.stabilizers.base import Clock, Stabilizer, Step
from asteroid_stab.stabilizers.comm import Comm
from asteroid_stab.stabilizers.sums import EpochSums

METRICS = ("si_sdr", "si_sdr_i")
LEAST_LOGIT = 1e4  # exp() of less is 0 in any precision, and half precision ends soon after
REASONS = ("first", "same", "improved", "relaxed")
"""Reasons to keep an item, in the order in which they are counted."""


class SampleDropout(Stabilizer):
    r"""Drops an item whose assignment changed and whose metric fell by more than ε below its best.

    .. math:: \text{keep}_i = \text{first} \lor \pi_i = \pi_i^{best} \lor m_i \ge m_i^{best} - \varepsilon

    where "first" is the first visit of the item and m is the metric of the final layer under the assignment of this
    step. After the decision, the bank stores the metric and its assignment if the metric is strictly better. A dropped
    item has weight zero (logit :math:`-\infty`): the loss is the mean over the kept items of all processes, and a
    batch in which no item is kept changes no weight. With a finite ``drop_logit``, a dropped item has exp(drop_logit)
    times the weight of a kept one, so that a batch of dropped items is trained on like any other; this variant is ours
    and in no paper.

    The rule is that of the paper's summary; its equation, the metric and the values of ε are not known to us. The
    defaults are our reading, each with its alternative as an option. ``epsilon_db=inf``, the default, keeps all.

    Items without a loss are left out of the mean in any case, and never enter the bank. The validation is not affected.

    Args:
        epsilon_db: ε, at least 0; in dB, or with ``relative`` as a part of the best metric's size.
        relative: ε is ``epsilon_db * abs(best)``.
        metric: ``si_sdr`` or ``si_sdr_i``, measured on the training crop. An easy crop sets a bar that a hard one
            does not reach; the improvement over the mixture corrects for that.
        keep_same: keep an item with its best assignment however far its metric fell.
        warm_up_epochs: epochs in which everything is kept, while the bank is filled.
        reset_every_epochs: empty the bank after so many epochs; None: never.
        drop_logit: logit of a dropped item, below 0.

    Raises:
        ValueError: an argument is out of its range.
        StabError: the items have no stable ids, or a saved bank belongs to other items.

    References:
        Gao, Gu, Marsic, "Improving label assignments learning by dynamic sample dropout combined with layer-wise
        optimization in speech separation", arXiv 2311.12199.
    """

    remembers_items = True

    def __init__(
        self,
        epsilon_db: float = math.inf,
        relative: bool = False,
        metric: str = "si_sdr",
        keep_same: bool = True,
        warm_up_epochs: int = 0,
        reset_every_epochs: int | None = None,
        drop_logit: float = -math.inf,
    ):
        if not epsilon_db >= 0:
            raise ValueError(f"epsilon_db must be at least 0, got {epsilon_db}")
        if metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
        if warm_up_epochs < 0:
            raise ValueError(f"warm_up_epochs must be at least 0, got {warm_up_epochs}")
        if reset_every_epochs is not None and reset_every_epochs < 1:
            raise ValueError(f"reset_every_epochs must be at least 1, got {reset_every_epochs}")
        if not drop_logit < 0 or -math.inf < drop_logit < -LEAST_LOGIT:
            raise ValueError(f"drop_logit must be below 0, from -{LEAST_LOGIT:g} on or -inf, got {drop_logit}")
        self.epsilon_db, self.relative, self.metric, self.keep_same = epsilon_db, relative, metric, keep_same
        self.warm_up_epochs, self.reset_every_epochs = warm_up_epochs, reset_every_epochs
        self.drop_logit = drop_logit
        self.bank: AssignmentBank | None = None
        self._state: dict[str, Any] | None = None
        self._items = Items(1)
        self._sums = EpochSums()

    def neutral(self, plan: RunPlan) -> str | None:
        """Returns which argument or other part keeps every item."""
        if math.isinf(self.epsilon_db):
            return "epsilon_db=inf keeps every item (stabilizer.dsd.epsilon_db=1.0, say, drops some)"
        if self.keep_same and plan.n_src == 1:
            return "with one source an assignment never changes, and keep_same=true keeps every item then"
        if self.keep_same and getattr(plan.loss, "fixed_labels", False):
            return "the labels are fixed (loss=fixed), and keep_same=true keeps every item whose label is the same"
        if self.reset_every_epochs == 1:
            return "reset_every_epochs=1 empties the bank in every epoch, so that every visit is a first one"
        if plan.max_epochs is not None and 0 <= plan.max_epochs <= self.warm_up_epochs:
            return f"warm_up_epochs={self.warm_up_epochs} keeps every item in all {plan.max_epochs} epochs"
        return None

    def begin(self, items: Items) -> None:
        self._items = items
        if self._state is not None:
            self.bank = AssignmentBank(items.n, self._state["perm"].shape[1], items.fingerprint)
            self.bank.load_state_dict(self._state)
            self._state = None
        else:
            self.bank = None

    def forget(self) -> None:
        """Empties the bank."""
        if self.bank is not None:
            self.bank.reset()

    def begin_epoch(self, clock: Clock) -> None:
        """Empties the bank where that is due."""
        self._sums.reset()
        every = self.reset_every_epochs
        if every is not None and clock.epoch % every == 0 and self.bank is not None:
            self.bank.reset()

    def logits(self, step: Step) -> Tensor:
        """Returns 0 for what is kept and ``drop_logit`` for the others; writes to the bank."""
        metric, perm = (step.si_sdr if self.metric == "si_sdr" else step.si_sdr_i), step.perm
        # An item that has no loss has no metric, though its estimate may have one.
        metric = metric.masked_fill(~torch.isfinite(item_loss(step.assignment.loss)), torch.nan)
        if self.bank is None:
            self.bank = AssignmentBank(self._items.n, perm.shape[1], self._items.fingerprint)
        if self.bank.perm.shape[1] != perm.shape[1]:
            raise StabError(f"the bank is of {self.bank.perm.shape[1]} sources, the assignments are of {perm.shape[1]}")
        self.bank.to(perm.device)
        best, best_perm = self.bank.lookup(step.ids)
        reasons = self._reasons(metric, perm, best, best_perm)
        warm = step.clock.epoch < self.warm_up_epochs
        kept = torch.ones_like(reasons["first"]) if warm else torch.stack([*reasons.values()]).any(0)
        self._count(reasons, kept, torch.isfinite(metric))
        self.bank.update(step.ids, metric, perm)
        return torch.where(kept, 0.0, self.drop_logit)

    def _reasons(self, metric: Tensor, perm: Tensor, best: Tensor, best_perm: Tensor) -> dict[str, Tensor]:
        """For each reason the items [B] that have it."""
        epsilon = self.epsilon_db * best.abs() if self.relative else self.epsilon_db
        # inf - inf is nan where there is no best yet: such items are kept as first visits.
        return {
            "first": torch.isneginf(best),
            "same": (perm == best_perm).all(1) & self.keep_same,
            "improved": metric >= best,
            "relaxed": metric >= best - epsilon,
        }

    def _count(self, reasons: dict[str, Tensor], kept: Tensor, visited: Tensor) -> None:
        left = visited
        for name in REASONS:
            self._sums.add(**{name: left & reasons[name]})
            left = left & ~reasons[name]
        self._sums.add(visited=visited, kept=visited & kept)

    def end_epoch(self, comm: Comm) -> dict[str, float]:
        """Merges the processes' banks; returns ``kept``, the share of visited items, and the share kept by reason."""
        if comm.n_ranks > 1 and self.bank is not None:
            self.bank.merge(comm.reduce_max, comm.rank)
        sums = self._sums.total(["visited", "kept", *REASONS], comm.gather_or_none)
        if not sums["visited"]:
            return {}
        shares = {f"kept_{name}": sums[name] / sums["visited"] for name in REASONS}
        return {"kept": sums["kept"] / sums["visited"], **shares}

    def state_dict(self) -> dict[str, Any]:
        """Returns the bank, and the counts of the present epoch."""
        bank = None if self.bank is None else self.bank.state_dict()
        return {"bank": bank, "sums": self._sums.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes a saved bank, which :meth:`begin` opens once the items are known."""
        self._state = state_dict["bank"]
        self._sums.load_state_dict(state_dict.get("sums", {}))
