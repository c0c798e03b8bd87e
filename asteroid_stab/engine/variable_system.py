"""Separation of a varying number of sources: the one training step, and a validation that counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.callbacks.stabilized import comm_of
from asteroid_stab.data.corpora.variable import VARIABLE_TASK
from asteroid_stab.engine.system import StabSystem
from asteroid_stab.errors import StabError
from asteroid_stab.losses.lengths import Lengths
from asteroid_stab.metrics.counting import ACTIVE_DB, active_estimates, active_sources, check_active_db
from asteroid_stab.microphones import reference
from asteroid_stab.run.plan import RunPlan


class VariableSourcesSystem(StabSystem):
    """A model of J outputs on mixtures of 1 to J sources, whose missing sources are silent targets.

    The step is :class:`~asteroid_stab.engine.system.StabSystem`'s. The validation logs

    - over the mixtures of two and more sources, ``val/si_sdr`` and ``val/si_sdr_i``;
    - over the mixtures of one source, ``val/si_sdr_single`` (it cannot improve on the source itself);
    - over all mixtures, ``val/count_accuracy``, the share in which as many estimates are active as sources, and
      ``val/score``, the negative of ``val/loss``, which chooses the best model.

    Args:
        model: as in ``StabSystem``.
        optimizer: as in ``StabSystem``.
        loss_func: a loss that asks a silent estimate for a silent target (``loss=inactive``).
        train_loader: as in ``StabSystem``.
        val_loader: as in ``StabSystem``.
        scheduler: as in ``StabSystem``.
        config: as in ``StabSystem``.
        seed: as in ``StabSystem``.
        active_db: level of an estimate relative to the mixture, in dB, above which it counts as a source.

    Raises:
        StabError: the loss leaves silent targets out.

    References:
        Wisdom et al., "What's all the FUSS about free universal sound separation data?", ICASSP 2021, arXiv
        2011.00803, which scores mixtures of one source and of several apart.
    """

    default_monitor = "val/score"
    tasks = (VARIABLE_TASK,)

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_func: torch.nn.Module,
        train_loader: Any = None,
        val_loader: Any = None,
        scheduler: Any = None,
        config: Mapping[str, Any] | None = None,
        seed: int = 0,
        active_db: float = ACTIVE_DB,
    ):
        super().__init__(model, optimizer, loss_func, train_loader, val_loader, scheduler, config, seed)
        self.active_db = check_active_db(active_db)

    def check(self, plan: RunPlan) -> None:
        """Checks that the loss judges the estimates of silent targets."""
        super().check(plan)
        if not self.loss_func.judges_silence:
            raise StabError(
                f"{type(self.loss_func).__name__} leaves silent targets out, so that their estimates may repeat a "
                "source; set loss=inactive, or loss/loss_func of another loss to "
                "asteroid_stab.losses.PairwiseNegInactiveSNR"
            )

    def improvable(self, sources: Tensor) -> Tensor:
        """Returns which items [B] have two or more active sources."""
        return active_sources(sources).sum(1) > 1

    def judge(
        self, mixture: Tensor, sources: Tensor, est: Tensor, lengths: Lengths | None = None
    ) -> tuple[Tensor, Tensor]:
        """Adds estimates to the sums of the validation, and whether they are as many as the sources."""
        last, after = super().judge(mixture, sources, est, lengths)
        n_active = active_sources(sources).sum(1)
        single = (n_active == 1) & torch.isfinite(after)
        right = active_estimates(last, reference(mixture), self.active_db).sum(1) == n_active
        self._val_sums.add(
            single=torch.where(single, after, 0.0), singles=single, right=right, counted=torch.ones_like(right)
        )
        return last, after

    def on_validation_epoch_end(self) -> None:
        """Logs the means over the validation set, of all ranks."""
        super().on_validation_epoch_end()
        names = ["loss", "scored", "single", "singles", "right", "counted"]
        sums = self._val_sums.total(names, comm_of(self.trainer).gather_or_none)
        self.log_epoch("val/score", -sums["loss"] / sums["scored"] if sums["scored"] else float("nan"))
        if sums["singles"]:
            self.log_epoch("val/si_sdr_single", -sums["single"] / sums["singles"])
        self.log_epoch("val/count_accuracy", sums["right"] / sums["counted"], prog_bar=True)
