"""Pre-training: the training step of a task that needs no labels of sources."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asteroid_stab.engine.system import StabSystem
from asteroid_stab.errors import StabError
from asteroid_stab.losses.guard import blanked
from asteroid_stab.losses.weighting import weighted_mean
from asteroid_stab.models.layered import LayeredModel
from asteroid_stab.pretext.base import Pretext
from asteroid_stab.run.epochs import shown_epoch
from asteroid_stab.stabilizers.base import StepCallback

log = logging.getLogger(__name__)
_VALIDATION = 2**31 - 1  # in the place of an epoch: what is drawn for the validation is the same in all of them


class PretextSystem(StabSystem):
    """Trains a model with one output by a pretext task instead of an assignment.

    What the task draws is a function of (seed, epoch, id), the same on one process or many and after a resume. The
    validation draws the same in every epoch and logs ``val/loss``, and ``val/score`` = -``val/loss``, which the best
    model and plateau schedulers go by. Speech enhancement needs no pretext: it is ``StabSystem`` with one source.

    Args:
        model: one source.
        optimizer: over the parameters of the model and of the task.
        loss_func: as in ``StabSystem``; not used.
        pretext: the task.
        train_loader: as in ``StabSystem``.
        val_loader: likewise.
        scheduler: likewise.
        config: likewise.
        seed: likewise.

    Raises:
        StabError: there are several sources, or callbacks that want assignments.
    """

    default_monitor = "val/score"

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_func: torch.nn.Module,
        pretext: Pretext,
        train_loader: Any = None,
        val_loader: Any = None,
        scheduler: Any = None,
        config: Mapping[str, Any] | None = None,
        seed: int = 0,
    ):
        super().__init__(model, optimizer, loss_func, train_loader, val_loader, scheduler, config, seed)
        self.pretext = pretext

    def check_items(self, dataset: Any) -> None:
        """Refuses mixtures and models of several sources, and callbacks that would wait for assignments in vain."""
        super().check_items(dataset)
        if isinstance(self.model, LayeredModel):
            raise StabError(
                "a pretext task needs the plain model (head=plain), got one that gives every layer's estimates"
            )
        sources = {
            "mixture (data.n_src=1)": dataset.n_src,
            "model (model.n_src=1)": self.model.get_model_args()["n_src"],
        }
        for what, n_src in sources.items():
            if n_src != 1:
                raise StabError(f"a pretext task must have one source in a {what}, got {n_src}")
        for callback in self._callbacks(StepCallback):
            raise StabError(f"{type(callback).__name__} needs assignments, and a pretext task has none")

    def common_step(self, batch: Any, batch_nb: int, train: bool = True) -> Tensor:
        """This rank's part of the mean loss, times the number of ranks."""
        _, _, ids = batch
        loss = self._losses(batch, self.current_epoch)
        mean = weighted_mean(loss, None, self._gather)
        self._count(loss.detach(), ids, mean.mass, self.pretext.figures())
        return mean.value * self.trainer.world_size

    def validation_step(self, batch: Any, batch_nb: int) -> None:
        """The loss of the task, on the same draws in every epoch."""
        loss = self._losses(batch, _VALIDATION)
        scored = torch.isfinite(loss)
        self._val_sums.add(loss=loss[scored], items=scored)

    def on_validation_epoch_end(self) -> None:
        """Logs the mean over the validation set, of all ranks."""
        sums = self._val_sums.total(["loss", "items"], self._gather)
        if not sums["items"]:
            raise StabError("no item of the validation set has a defined loss: all are silent or not finite")
        self._log_epoch("val/loss", sums["loss"] / sums["items"])
        self._log_epoch("val/score", -sums["loss"] / sums["items"], prog_bar=True)

    def on_train_epoch_end(self) -> None:
        """Says where the task goes wrong."""
        super().on_train_epoch_end()
        metrics = self.trainer.callback_metrics
        figures = {name: float(metrics.get(f"train/{name}", math.nan)) for name in self.pretext.figures()}
        if warning := self.pretext.warning(figures):
            log.warning("epoch %d: %s", shown_epoch(self.current_epoch), warning)

    def _losses(self, batch: Any, epoch: int) -> Tensor:
        mixture, sources, ids = batch
        mixture, broken = blanked(mixture)
        generators = [np.random.default_rng((self.seed, epoch, item)) for item in ids.tolist()]
        loss = self.pretext(self.model, mixture, sources, generators)
        return loss.masked_fill(broken, torch.inf)
