"""Pre-training: the training step of a task that needs no labels of sources."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asteroid_stab.callbacks.stabilized import EpochFigures, bind, comm_of
from asteroid_stab.data.padding import PaddedMixtures
from asteroid_stab.engine.step_system import StepSystem
from asteroid_stab.errors import StabError
from asteroid_stab.losses.guard import blanked
from asteroid_stab.models.layered import LayeredModel
from asteroid_stab.models.layered_hosted import LayeredHostedModel
from asteroid_stab.pretext.base import Pretext
from asteroid_stab.run.epochs import shown_epoch
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers import StepObserver

log = logging.getLogger(__name__)
_VALIDATION = 2**31 - 1  # in the place of an epoch: what is drawn for the validation is the same in all of them


class PretextSystem(StepSystem):
    """Trains a model with one output by a pretext task instead of an assignment.

    The draws of the task are a function of (seed, epoch, id), the same on one process or many and after a resume. The
    validation draws the same in every epoch and logs ``val/loss``, and ``val/score`` = -``val/loss``, which the best
    model and plateau schedulers go by. Speech enhancement needs no pretext: it is ``StabSystem`` with one source.

    Args:
        model: of one source.
        optimizer: over the parameters of the model and of the task.
        loss_func: the pretext task; its parameters are trained, and are no part of the model file.
        train_loader: as in ``StabSystem``.
        val_loader: as in ``StabSystem``.
        scheduler: as in ``StabSystem``.
        config: as in ``StabSystem``.
        seed: of all draws.

    Raises:
        StabError: ``loss_func`` is no pretext task; there are several sources, or callbacks that want assignments.
    """

    default_monitor = "val/score"
    compiles = False

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
    ):
        if not isinstance(loss_func, Pretext):
            raise StabError(
                f"{type(self).__name__} trains with a pretext task, got {type(loss_func).__name__} (a pretext task and "
                "system=pretext belong together: both or neither, pretext=mama or pretext=cc)"
            )
        super().__init__(model, optimizer, loss_func, train_loader, val_loader, scheduler, config, seed)

    @property
    def pretext(self) -> Pretext:
        """The task."""
        return self.loss_func

    def check(self, plan: RunPlan) -> None:
        """Checks that model and mixtures have one source, and that no callback waits for assignments in vain."""
        super().check(plan)
        if (n_mics := getattr(plan.train_set, "n_mics", 1)) > 1:
            raise StabError(f"a pretext task learns from one microphone, got {n_mics}: set data.mics=[0]")
        if isinstance(plan.train_set, PaddedMixtures):
            raise StabError(
                "a pretext task would learn from padding: set loader.pad_short=false, which leaves short mixtures out"
            )
        if isinstance(self.model, (LayeredModel, LayeredHostedModel)):
            raise StabError(
                "a pretext task needs the plain model (head=plain), got one that gives every layer's estimates"
            )
        sources = {
            "mixture (data.n_src=1)": plan.n_src,
            "model (model.n_src=1)": self.model.get_model_args()["n_src"],
        }
        for what, n_src in sources.items():
            if n_src != 1:
                raise StabError(f"a pretext task must have one source in a {what}, got {n_src}")
        for callback in plan.callbacks:
            if isinstance(callback, StepObserver):
                raise StabError(f"{type(callback).__name__} needs assignments, and a pretext task has none")

    def configure_callbacks(self) -> list[Any]:
        """Logs the epoch's figures before the other callbacks look for them."""
        bind(self, EpochFigures(lambda: self.epoch_figures({})))
        return []

    def common_step(self, batch: Any, batch_nb: int, train: bool = True) -> Tensor:
        """Returns this rank's part of the mean loss, times the number of ranks."""
        loss = self._losses(batch, self.current_epoch)
        return self.plain_mean(loss, batch[2], self.pretext.figures())

    def epoch_figures(self, figures: dict[str, float]) -> dict[str, float]:
        """Returns the epoch's loss and the figures of the task; logs where the task goes wrong."""
        figures = super().epoch_figures({**figures, **self._counts.figures(comm_of(self.trainer))})
        of_task = {name: figures.get(name, math.nan) for name in self.pretext.figures()}
        if warning := self.pretext.warning(of_task):
            log.warning("epoch %d: %s", shown_epoch(self.current_epoch), warning)
        return figures

    def validation_step(self, batch: Any, batch_nb: int) -> None:
        """Adds the loss of the task, on the same draws in every epoch."""
        loss = self._losses(batch, _VALIDATION)
        scored = torch.isfinite(loss)
        self._val_sums.add(loss=torch.where(scored, loss, 0.0), items=scored)

    def on_validation_epoch_end(self) -> None:
        """Logs the mean over the validation set, of all ranks."""
        sums = self._val_sums.total(["loss", "items"], comm_of(self.trainer).gather_or_none)
        if not sums["items"]:
            raise StabError("no item of the validation set has a defined loss: all are silent or not finite")
        self.log_epoch("val/loss", sums["loss"] / sums["items"])
        self.log_epoch("val/score", -sums["loss"] / sums["items"], prog_bar=True)

    def _losses(self, batch: Any, epoch: int) -> Tensor:
        mixture, sources, ids = batch
        mixture, broken = blanked(mixture)
        generators = [np.random.default_rng((self.seed, epoch, item)) for item in self.ids_on_host(ids)]
        loss = self.pretext(self.model, mixture, sources, generators)
        return loss.masked_fill(broken, torch.inf)
