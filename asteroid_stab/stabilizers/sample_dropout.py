"""Dynamic sample dropout: leaves out items that would spoil the assignments learnt so far."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.losses import LayerwiseLossWrapper
from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.losses.bank import AssignmentBank
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers.base import Clock, Stabilizer, Step
from asteroid_stab.stabilizers.comm import Comm
from asteroid_stab.stabilizers.step_metrics import METRICS, metric_of_layer, metric_of_mixture
from asteroid_stab.stabilizers.sums import EpochSums

LAYERS = ("last", "all", "any")
LEAST_LOGIT = 1e4  # exp() of less is 0 in any precision, and half precision ends soon after
REASONS = ("first", "same", "improved", "relaxed")
"""Reasons to keep an item, in the order in which they are counted."""


class SampleDropout(Stabilizer):
    r"""Drops an item whose assignment changed and whose metric fell by more than ε below its best.

    .. math:: \text{keep}_i = \text{first} \lor \pi_i = \pi_i^{best} \lor m_i \ge m_i^{best} - \varepsilon

    where "first" is the first visit of the item and m is the metric of the final layer under the assignment of this
    step. After the decision, the bank stores the metric and its assignment if the metric is strictly better; with
    ``store_relaxed``, also the assignment of an item that was kept within ε of its best. A dropped
    item has weight zero (logit :math:`-\infty`): the loss is the mean over the kept items of all processes, and a
    batch in which no item is kept changes no weight. With a finite ``drop_logit``, a dropped item has exp(drop_logit)
    times the weight of a kept one, so that a batch of dropped items is trained on like any other; this variant is ours
    and in no paper.

    The rule is that of the paper's summary; its equation and the values of ε are not known to us. The defaults are our
    reading, each with its alternative as an option. ``epsilon_db=inf``, the default, keeps all.

    Items without a loss are left out of the mean in any case, and never enter the bank. The validation is not affected.

    Args:
        epsilon_db: ε, at least 0; in dB, or with ``relative`` as a part of the best metric's size.
        relative: ε is ``epsilon_db * abs(best)``.
        metric: measured on the training crop, in dB: ``si_sdr``, or ``sdr`` (of BSS Eval, as ``evaluate`` reports it);
            or their improvements over the mixture, ``si_sdr_i`` and ``sdr_i``, which the paper's summary names. On
            whole, fixed mixtures an improvement decides as its metric does, because the mixture's own value is
            constant. On random crops an easy crop sets a bar that a hard one does not reach, and the improvement
            corrects for that. The default costs nothing where it is the loss.
        keep_same: keep an item with its best assignment however far its metric fell.
        warm_up_epochs: epochs in which everything is kept, while the bank is filled.
        reset_every_epochs: empty the bank after so many epochs; None: never.
        drop_logit: logit of a dropped item, below 0.
        store_relaxed: store the assignment of an item whose metric is within ε of its best; the best metric stays.
        layers: with a model whose layers are trained, whose memory decides. ``last``: the last layer's. Otherwise each
            layer has a bank and a decision of its own, and the item is kept if ``all`` layers keep it, or if ``any``
            does; it is kept or dropped with all its layers.

    Attributes:
        banks: a bank for each layer that decides, the last layer's last; empty before the first step.

    Raises:
        ValueError: an argument is out of its range.
        StabError: the items have no stable ids, or a saved bank belongs to other items.

    References:
        Gao, Gu, Marsic, "Improving label assignments learning by dynamic sample dropout combined with layer-wise
        optimization in speech separation", Interspeech 2023, arXiv 2311.12199.
    """

    remembers_items = True
    option = "dsd"  # in conf/stabilizer, for messages
    may_keep_weight = False  # whether drop_logit may be 0

    def __init__(
        self,
        epsilon_db: float = math.inf,
        relative: bool = False,
        metric: str = "si_sdr",
        keep_same: bool = True,
        warm_up_epochs: int = 0,
        reset_every_epochs: int | None = None,
        drop_logit: float = -math.inf,
        store_relaxed: bool = False,
        layers: str = "last",
    ):
        if not epsilon_db >= 0:
            raise ValueError(f"epsilon_db must be at least 0, got {epsilon_db}")
        for name, value, known in (("metric", metric, METRICS), ("layers", layers, LAYERS)):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if warm_up_epochs < 0:
            raise ValueError(f"warm_up_epochs must be at least 0, got {warm_up_epochs}")
        if reset_every_epochs is not None and reset_every_epochs < 1:
            raise ValueError(f"reset_every_epochs must be at least 1, got {reset_every_epochs}")
        small = drop_logit < 0 or (drop_logit == 0 and self.may_keep_weight)
        if not small or -math.inf < drop_logit < -LEAST_LOGIT:
            most = "at most 0" if self.may_keep_weight else "below 0"
            raise ValueError(f"drop_logit must be {most}, from -{LEAST_LOGIT:g} on or -inf, got {drop_logit}")
        self.epsilon_db, self.relative, self.metric, self.keep_same = epsilon_db, relative, metric, keep_same
        self.warm_up_epochs, self.reset_every_epochs = warm_up_epochs, reset_every_epochs
        self.drop_logit, self.store_relaxed, self.layers = drop_logit, store_relaxed, layers
        self.banks: list[AssignmentBank] = []
        self._state: list[dict[str, Any]] | None = None
        self._items = Items(1)
        self._sums = EpochSums()

    @property
    def bank(self) -> AssignmentBank | None:
        """The bank of the last layer; None before the first step."""
        return self.banks[-1] if self.banks else None

    @property
    def needs_mixture(self) -> bool:  # type: ignore[override]
        """True where the metric is an improvement over the mixture."""
        return self.metric.endswith("_i")

    def check(self, plan: RunPlan) -> None:
        """Checks that the items have stable ids, and that there are layers where each has a bank."""
        super().check(plan)
        if self.layers != "last" and not isinstance(plan.loss, LayerwiseLossWrapper):
            raise StabError(
                f"a bank for each layer (stabilizer.{self.option}.layers={self.layers}) needs a model that gives every "
                f"layer's estimates: add head=layerwise, or set stabilizer.{self.option}.layers=last"
            )

    def neutral(self, plan: RunPlan) -> str | None:
        """Returns which argument or other part keeps every item."""
        if math.isinf(self.epsilon_db):
            return f"epsilon_db=inf keeps every item (stabilizer.{self.option}.epsilon_db=1.0, say, drops some)"
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
        if self._state is not None:
            banks = [AssignmentBank(items.n, state["perm"].shape[1], items.fingerprint) for state in self._state]
            for bank, state in zip(banks, self._state, strict=True):
                bank.load_state_dict(state)
            self.banks, self._state = banks, None
        elif self.bank is not None:
            items.check_same(self.bank.fingerprint, len(self.bank))
        self._items = items

    def forget(self) -> None:
        """Empties the banks."""
        for bank in self.banks:
            bank.reset()

    def begin_epoch(self, clock: Clock) -> None:
        """Empties the banks where that is due."""
        self._sums.reset()
        every = self.reset_every_epochs
        if every is not None and clock.epoch % every == 0:
            self.forget()

    def logits(self, step: Step) -> Tensor:
        """Returns 0 for what is kept and ``drop_logit`` for the others; writes to the banks."""
        perms = step.assignment.perm
        perms = perms.unsqueeze(0) if perms.ndim == 2 else perms
        if self.layers == "last":
            perms = perms[-1:]
        self._fit_banks(perms)
        # An item that has no loss has no metric, though its estimate may have one.
        undefined = ~torch.isfinite(item_loss(step.assignment.loss))
        before = metric_of_mixture(step, self.metric)
        metrics, reasons = [], []
        for layer, (bank, perm) in enumerate(zip(self.banks, perms, strict=True), start=-len(perms)):
            metric = -item_loss(before - metric_of_layer(step, self.metric, layer, perm))
            metrics.append(metric.to(bank.metric.dtype).masked_fill(undefined, torch.nan))
            reasons.append(self._reasons(metrics[-1], perm, *bank.lookup(step.ids)))
        by_layer = torch.stack([torch.stack([*of_layer.values()]).any(0) for of_layer in reasons])
        kept = by_layer.any(0) if self.layers == "any" else by_layer.all(0)
        if step.clock.epoch < self.warm_up_epochs:
            kept = torch.ones_like(kept)
        self._count(reasons[-1], kept, torch.isfinite(metrics[-1]))
        dropped = self._dropped_logits(step.ids, metrics[-1], perms[-1], kept)
        for bank, perm, metric, of_layer in zip(self.banks, perms, metrics, reasons, strict=True):
            bank.update(step.ids, metric, perm, kept & of_layer["relaxed"] if self.store_relaxed else None)
        return torch.where(kept, 0.0, dropped)

    def _dropped_logits(self, ids: Tensor, metric: Tensor, perm: Tensor, kept: Tensor) -> Tensor | float:
        """Logits of the items that are not kept; asked once a step, before the banks are written."""
        return self.drop_logit

    def _fit_banks(self, perms: Tensor) -> None:
        n_layers, _, n_src = perms.shape
        if not self.banks:
            self.banks = [AssignmentBank(self._items.n, n_src, self._items.fingerprint) for _ in range(n_layers)]
        if len(self.banks) != n_layers:
            raise StabError(f"there are banks of {len(self.banks)} layer(s), the estimates are of {n_layers}")
        for bank in self.banks:
            if bank.perm.shape[1] != n_src:
                raise StabError(f"the bank is of {bank.perm.shape[1]} sources, the assignments are of {n_src}")
            bank.to(perms.device)

    def _reasons(self, metric: Tensor, perm: Tensor, best: Tensor, best_perm: Tensor) -> dict[str, Tensor]:
        """For each reason the items [B] that have it."""
        # inf - inf is nan where there is no best yet: such items are kept as first visits.
        return {
            "first": torch.isneginf(best),
            "same": (perm == best_perm).all(1) & self.keep_same,
            "improved": metric >= best,
            "relaxed": metric >= best - self._epsilon(best),
        }

    def _epsilon(self, best: Tensor) -> Tensor | float:
        return self.epsilon_db * best.abs() if self.relative and math.isfinite(self.epsilon_db) else self.epsilon_db

    def _count(self, reasons: dict[str, Tensor], kept: Tensor, visited: Tensor) -> None:
        left = visited
        for name in REASONS:  # of the last layer
            self._sums.add(**{name: left & kept & reasons[name]})
            left = left & ~reasons[name]
        self._sums.add(visited=visited, kept=visited & kept)

    def end_epoch(self, comm: Comm) -> dict[str, float]:
        """Merges the processes' banks; returns ``kept``, the share of visited items, and the share kept by reason.

        The reasons are the last layer's; items that are kept by another layer's or by the warm-up have none.
        """
        for bank in self.banks if comm.n_ranks > 1 else ():
            bank.merge(comm.reduce_max, comm.rank)
        sums = self._sums.total(["visited", "kept", *REASONS], comm.gather_or_none)
        if not sums["visited"]:
            return {}
        shares = {f"kept_{name}": sums[name] / sums["visited"] for name in REASONS}
        return {"kept": sums["kept"] / sums["visited"], **shares}

    def state_dict(self) -> dict[str, Any]:
        """Returns the banks, and the counts of the present epoch."""
        banks = [bank.state_dict() for bank in self.banks]
        return {"bank": banks[-1] if banks else None, "early_banks": banks[:-1], "sums": self._sums.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes saved banks, which :meth:`begin` opens once the items are known."""
        last, self.banks = state_dict["bank"], []
        self._state = None if last is None else [*state_dict.get("early_banks", []), last]
        self._sums.load_state_dict(state_dict.get("sums", {}))
