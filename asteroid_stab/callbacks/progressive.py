"""Progressive training: one block after the other, each behind the blocks that are trained already."""

from __future__ import annotations

import shutil
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.strategies import DDPStrategy

from asteroid_stab.atomic import replacing
from asteroid_stab.callbacks.epoch_log import log_epoch
from asteroid_stab.callbacks.run_checkpoint import RunCheckpoint
from asteroid_stab.callbacks.weight_average import WeightAverage
from asteroid_stab.errors import StabError
from asteroid_stab.losses import AssignmentLossWrapper
from asteroid_stab.models.refiner_stages import StagedModel
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.metrics_table import PART
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers import StepObserver


class ProgressiveTraining(pl.Callback):
    """Trains N blocks in N stages of equal length: stage n trains block n, with all before it frozen and in no graph.

    At the first epoch of a stage the state of the optimizer is cleared, the learning-rate schedule starts again, and so
    does the search for the best model: ``best_model.pth`` is the best of the present stage, with n blocks; the best of
    a finished stage is kept as ``stages/stage_1.pth`` and so on. Loss and stabilizers forget what they remember of the
    items, because it belongs to another head: switches are counted within stages. A stage starts from the last weights
    of the stage before, not from its best ones. The stage is a function of the epoch, so a run may be resumed anywhere.
    ``train/stage`` is logged.

    Args:
        epochs_per_stage: epochs of each stage; the trainer's ``max_epochs`` must be N times as many.

    Raises:
        StabError: the model has no stages, or its blocks share one head; ``max_epochs`` is not N times
            ``epochs_per_stage``; a stage may end without a validation, or the run before its last stage
            (``EarlyStopping``).

    References:
        Bralios et al., "Latent iterative refinement for modular source separation", ICASSP 2023, arXiv 2211.11917,
        section 2.2. That a stage begins with the last weights is our reading.
    """

    def __init__(self, epochs_per_stage: int):
        if epochs_per_stage < 1:
            raise ValueError(f"epochs_per_stage must be at least 1, got {epochs_per_stage}")
        self.epochs_per_stage = epochs_per_stage

    def stage_of(self, epoch: int) -> int:
        """Returns the stage (from 1) that an epoch (from 0) belongs to.

        Example:
            >>> [ProgressiveTraining(epochs_per_stage=2).stage_of(epoch) for epoch in range(5)]
            [1, 1, 2, 2, 3]
        """
        return epoch // self.epochs_per_stage + 1

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str | None = None) -> None:
        """Begins a training with the first block."""
        if stage in (None, "fit"):
            callbacks = trainer.callbacks  # type: ignore[attr-defined]
            every = trainer.check_val_every_n_epoch
            self.check(RunPlan(1, model=pl_module.model, callbacks=callbacks, max_epochs=trainer.max_epochs,
                               check_val_every_n_epoch=every))  # fmt: skip
            pl_module.model.train_stage(1)

    def check(self, plan: RunPlan) -> None:
        """Checks that the model can be trained in these stages.

        Raises:
            StabError: it cannot, see the class.
        """
        model = plan.model
        if not isinstance(model, StagedModel):
            raise StabError(
                f"ProgressiveTraining needs a model with stages (model=refiner), got {type(model).__name__}"
            )
        whole = model.n_blocks * self.epochs_per_stage
        if plan.max_epochs != whole:
            raise StabError(
                f"trainer.max_epochs must be {whole}, epochs_per_stage={self.epochs_per_stage} for each of "
                f"{model.n_blocks} blocks, got {plan.max_epochs}"
            )
        every = plan.check_val_every_n_epoch or 1
        if every > self.epochs_per_stage:
            raise StabError(
                f"each stage needs a validation to have a best model: trainer.check_val_every_n_epoch must be at most "
                f"epochs_per_stage={self.epochs_per_stage}, got {every}"
            )
        if any(isinstance(callback, EarlyStopping) for callback in plan.callbacks):
            raise StabError(
                "stages have a fixed number of epochs, and early_stopping would leave blocks untrained: "
                "train without it (callbacks=[tracker,progressive])"
            )
        model.check_stages()

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Goes to the checkpoint's stage, whose parameters the saved optimizer's are."""
        pl_module.model.train_stage(self.stage_of(checkpoint["epoch"]))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Goes to the epoch's stage."""
        model, stage = pl_module.model, self.stage_of(trainer.current_epoch)
        if stage == model.stage:
            return
        if trainer.is_global_zero:
            self._keep(RunLayout(trainer.default_root_dir), model.stage)
        model.train_stage(stage)
        pl_module.restart()
        if isinstance(pl_module.loss_func, AssignmentLossWrapper):
            pl_module.loss_func.forget()
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, RunCheckpoint):
                callback.forget_best()
            if isinstance(callback, StepObserver):
                callback.forget()
            if isinstance(callback, WeightAverage):
                callback.restart()
        if isinstance(trainer.strategy, DDPStrategy):  # its hooks are on the parameters that were trained
            trainer.strategy.model = pl_module
            trainer.strategy.configure_ddp()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the stage."""
        log_epoch(pl_module, PART, float(self.stage_of(trainer.current_epoch)))

    def on_fit_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Keeps the last stage's model as well."""
        stage = pl_module.model.stage
        if trainer.is_global_zero and trainer.current_epoch == stage * self.epochs_per_stage:
            self._keep(RunLayout(trainer.default_root_dir), stage)

    @staticmethod
    def _keep(run: RunLayout, stage: int) -> None:
        best, kept = run.model, run.stage_model(stage)
        # Where it stands already, the run was killed in the first epoch of the next stage, whose model may be in best.
        if best.is_file() and not kept.is_file():
            with replacing(kept) as new:
                shutil.copyfile(best, new)
