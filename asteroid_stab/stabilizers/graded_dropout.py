"""Graded dropout: the further an item fell and the more often it switched, the less it weighs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.items import Items
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers.comm import Comm
from asteroid_stab.stabilizers.item_switches import ItemSwitches
from asteroid_stab.stabilizers.sample_dropout import LEAST_LOGIT, SampleDropout


class GradedDropout(SampleDropout):
    r"""Sample dropout in which a dropped item keeps a weight that falls with its distance to the best and its switches.

    .. math:: F_i = \text{drop\_logit} - a \max(0,\, m_i^{best} - \varepsilon - m_i) - b\, n_i

    for an item that :class:`SampleDropout` would drop, and 0 for the others; a = ``per_db``, b = ``per_switch``. m is
    the metric of the last layer, and :math:`n_i` the item's own number of switches so far, this visit's included:
    visits with another assignment of the last layer than the visit before. An item of logit F has exp(F) times the
    weight of a kept one.

    The variant is ours and in no paper: it weighs an item that the paper's rule leaves out. With a = b = 0 it is sample
    dropout with the constant ``drop_logit``, and with ``drop_logit=0`` too, the default, plain PIT. Emptying the banks
    (``reset_every_epochs``) forgets the switches as well.

    Args:
        epsilon_db: see :class:`SampleDropout`, and so for all further arguments up to ``layers``.
        relative: ε is ``epsilon_db * abs(best)``.
        metric: measured on the training crop, in dB.
        keep_same: keep an item with its best assignment however far its metric fell.
        warm_up_epochs: epochs in which everything is kept.
        reset_every_epochs: empty the bank after so many epochs; None: never.
        drop_logit: logit of an item that is dropped at the threshold and never switched, at most 0.
        store_relaxed: store the assignment of an item whose metric is within ε of its best.
        layers: ``last``, ``all`` or ``any``.
        per_db: a, at least 0.
        per_switch: b, at least 0.

    Raises:
        ValueError: an argument is out of its range, or a slope is given with ``drop_logit=-inf``, which leaves nothing
            to grade.
        StabError: as :class:`SampleDropout`.

    References:
        The rule that it grades: Gao et al., "Improving label assignments learning by dynamic sample dropout combined
        with layer-wise optimization in speech separation", Interspeech 2023, arXiv 2311.12199.
    """

    option = "graded"
    may_keep_weight = True

    def __init__(
        self,
        epsilon_db: float = math.inf,
        relative: bool = False,
        metric: str = "si_sdr",
        keep_same: bool = True,
        warm_up_epochs: int = 0,
        reset_every_epochs: int | None = None,
        drop_logit: float = 0.0,
        store_relaxed: bool = False,
        layers: str = "last",
        per_db: float = 0.0,
        per_switch: float = 0.0,
    ):
        super().__init__(
            epsilon_db,
            relative,
            metric,
            keep_same,
            warm_up_epochs,
            reset_every_epochs,
            drop_logit,
            store_relaxed,
            layers,
        )
        for name, value in (("per_db", per_db), ("per_switch", per_switch)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a number of at least 0, got {value}")
        if math.isinf(drop_logit) and (per_db or per_switch):
            raise ValueError(
                f"drop_logit=-inf leaves nothing to grade, got per_db={per_db} and per_switch={per_switch}: set "
                "drop_logit=0, or no slope"
            )
        self.per_db, self.per_switch = per_db, per_switch
        self.switches = ItemSwitches()

    def neutral(self, plan: RunPlan) -> str | None:
        """Returns which arguments keep every item with its whole weight."""
        if not (self.drop_logit or self.per_db or self.per_switch):
            return "drop_logit=0, per_db=0 and per_switch=0 leave every item its weight (set stabilizer.graded.per_db)"
        return super().neutral(plan)

    def begin(self, items: Items) -> None:
        super().begin(items)
        self.switches.begin(items)

    def forget(self) -> None:
        """Empties the banks, and forgets the switches."""
        super().forget()
        self.switches.forget()

    def _dropped_logits(self, ids: Tensor, metric: Tensor, perm: Tensor, kept: Tensor) -> Tensor | float:
        assert self.bank is not None
        best, _ = self.bank.lookup(ids)
        n_switches = self.switches.visit(ids, perm, metric)
        fell = (best - self._epsilon(best) - metric).nan_to_num(0.0, 0.0, 0.0).clamp_min(0.0)
        logits = self.drop_logit - self.per_db * fell - self.per_switch * n_switches  # F, see the class
        if math.isfinite(self.drop_logit):
            logits = logits.clamp_min(-LEAST_LOGIT)
        dropped = ~kept & torch.isfinite(metric)
        self._sums.add(dropped=dropped, dropped_weight=torch.where(dropped, logits.exp(), 0.0))
        return logits

    def end_epoch(self, comm: Comm) -> dict[str, float]:
        """Merges what the processes know; adds ``dropped_weight``, the mean exp(F) of the dropped items, if any."""
        figures = super().end_epoch(comm)
        self.switches.merge(comm)
        sums = self._sums.total(["dropped", "dropped_weight"], comm.gather_or_none)
        return {**figures, "dropped_weight": sums["dropped_weight"] / sums["dropped"]} if sums["dropped"] else figures

    def state_dict(self) -> dict[str, Any]:
        """Returns the banks, the switches, and the counts of the present epoch."""
        return {**super().state_dict(), "switches": self.switches.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes a saved state, which :meth:`begin` opens once the items are known."""
        super().load_state_dict(state_dict)
        self.switches.load_state_dict(state_dict["switches"])
