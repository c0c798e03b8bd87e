"""Dynamic sample dropout: items that would spoil the assignments learnt so far are left out of the update."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.errors import StabError
from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.stabilizers.bank import AssignmentBank
from asteroid_stab.stabilizers.base import Stabilizer, Step
from asteroid_stab.stabilizers.items import stable_items, training_set
from asteroid_stab.stabilizers.sums import EpochSums

METRICS = ("si_sdr", "si_sdr_i")
REASONS = ("first", "same", "improved", "relaxed")
"""Why an item is kept, in the order in which they are looked at."""


class SampleDropout(Stabilizer):
    r"""Keeps an item that is visited first, has its best assignment, or is not worse than its best by more than ε.

    .. math:: \text{keep}_i = \text{first} \lor \pi_i = \pi_i^{best} \lor m_i \ge m_i^{best} - \varepsilon

    with the metric m of the final layer under the assignment of this step. The bank takes a metric and its
    assignment when the metric is strictly better, after the decision. What is dropped has weight zero (logit
    :math:`-\infty`): the loss is the mean over what is kept on all ranks, and a batch in which nothing is kept moves
    no weight. A finite ``drop_logit`` is the soft variant: such an item has exp(drop_logit) times the weight of a kept
    one (so that a batch in which nothing is kept is trained on as any other). It is ours, and in no paper.

    The rule is that of the paper's summary; its equation, the metric and the values of ε are not known to us. The
    defaults are our reading, each with its alternative as an option. ``epsilon_db=inf``, the default, keeps all.

    Items with undefined losses are left out by the system anyway, and never enter the bank. The validation is not
    touched.

    Args:
        epsilon_db: ε, at least 0; in dB, or with ``relative`` as a part of the best metric's size.
        relative: ε is ``epsilon_db * abs(best)``.
        metric: ``si_sdr`` or ``si_sdr_i``, of the crop that is trained on. An easy crop sets a bar that a hard one
            does not reach; the improvement over the mixture allows for that.
        keep_same: keep an item with its best assignment however far its metric fell.
        warm_up_epochs: epochs in which everything is kept, while the bank is filled.
        reset_every_epochs: empty the bank after so many epochs; None: never.
        drop_logit: logit of a dropped item, below 0.

    Raises:
        StabError: an argument is out of its range; the items have no stable ids; a checkpoint's bank is of others.

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
            raise StabError(f"epsilon_db must be at least 0, got {epsilon_db}")
        if metric not in METRICS:
            raise StabError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
        if warm_up_epochs < 0:
            raise StabError(f"warm_up_epochs must be at least 0, got {warm_up_epochs}")
        if reset_every_epochs is not None and reset_every_epochs < 1:
            raise StabError(f"reset_every_epochs must be at least 1, got {reset_every_epochs}")
        if not drop_logit < 0:
            raise StabError(f"drop_logit must be below 0, got {drop_logit}")
        self.epsilon_db, self.relative, self.metric, self.keep_same = epsilon_db, relative, metric, keep_same
        self.warm_up_epochs, self.reset_every_epochs = warm_up_epochs, reset_every_epochs
        self.drop_logit = drop_logit
        self.bank: AssignmentBank | None = None
        self._state: dict[str, Any] | None = None
        self._fingerprint, self._n_items = "", 0
        self._sums = EpochSums()

    def check_items(self, dataset: Any) -> MixtureDataset:
        """The items, whose ids must mean the same in every epoch."""
        return stable_items(dataset, "SampleDropout", "stabilizer=[]")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks that an id means the same mixture in every epoch."""
        items = self.check_items(training_set(trainer))
        self._fingerprint, self._n_items = items.fingerprint, len(items)
        self.bank = None
        if self._state is not None:
            self.bank = AssignmentBank(self._n_items, self._state["perm"].shape[1], self._fingerprint)
            self.bank.load_state_dict(self._state)
            self._state = None

    def forget(self) -> None:
        """Empties the bank."""
        if self.bank is not None:
            self.bank.reset()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Empties the bank where that is due."""
        self._sums.reset()
        every, epoch = self.reset_every_epochs, trainer.current_epoch
        if every is not None and epoch % every == 0 and self.bank is not None:
            self.bank.reset()

    def logits(self, trainer: pl.Trainer, system: Any, step: Step) -> Tensor:
        """0 for what is kept, ``drop_logit`` for the others; writes to the bank."""
        metric, perm = (step.si_sdr if self.metric == "si_sdr" else step.si_sdr_i), step.perm
        # An item that has no loss has no metric, though its estimate may have one.
        metric = metric.masked_fill(~torch.isfinite(item_loss(step.assignment.loss)), torch.nan)
        if self.bank is None:
            self.bank = AssignmentBank(self._n_items, perm.shape[1], self._fingerprint)
        if self.bank.perm.shape[1] != perm.shape[1]:
            raise StabError(f"the bank is of {self.bank.perm.shape[1]} sources, the assignments are of {perm.shape[1]}")
        self.bank.to(perm.device)
        best, best_perm = self.bank.lookup(step.ids)
        reasons = self._reasons(metric, perm, best, best_perm)
        warm = trainer.current_epoch < self.warm_up_epochs
        kept = torch.ones_like(reasons["first"]) if warm else torch.stack([*reasons.values()]).any(0)
        self._count(reasons, kept, torch.isfinite(metric))
        self.bank.update(step.ids, metric, perm)
        return torch.where(kept, 0.0, self.drop_logit)

    def _reasons(self, metric: Tensor, perm: Tensor, best: Tensor, best_perm: Tensor) -> dict[str, Tensor]:
        """For each reason the items [B] that have it."""
        epsilon = self.epsilon_db * best.abs() if self.relative else self.epsilon_db
        # inf - inf is nan where there is no best yet: those are kept as first visits.
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

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Merges the ranks' banks, and logs the share of items kept and why."""
        several = trainer.world_size > 1
        if several and self.bank is not None:
            self.bank.merge(lambda table: trainer.strategy.reduce(table, reduce_op="max"), trainer.global_rank)
        gather = pl_module.all_gather if several else None
        sums = self._sums.total(["visited", "kept", *REASONS], gather)  # type: ignore[arg-type]
        if sums["visited"]:
            pl_module.log("train/kept", sums["kept"] / sums["visited"], prog_bar=True)
            for name in REASONS:
                pl_module.log(f"train/kept_{name}", sums[name] / sums["visited"])

    def state_dict(self) -> dict[str, Any]:
        """The bank."""
        return {"bank": None if self.bank is None else self.bank.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes a checkpoint's bank, for when the items are known."""
        self._state = state_dict["bank"]
