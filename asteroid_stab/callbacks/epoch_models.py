"""The model of every epoch, for measurements after the training."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from asteroid_stab.callbacks.weight_average import averaged_weights
from asteroid_stab.errors import StabError
from asteroid_stab.models.files import check_savable, save_model
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.plan import RunPlan


class EpochModels(pl.Callback):
    """Writes the model to ``models/epoch_0000.pth`` and so on at the end of epochs, counted from 0.

    The files are like ``best_model.pth``: plain Asteroid opens them. A ConvTasNet of the usual size takes 20 MB an
    epoch.

    Args:
        every_n_epochs: epochs 0, n, 2n, ... are kept.

    Raises:
        StabError: ``every_n_epochs`` is below 1.
    """

    def __init__(self, every_n_epochs: int = 1):
        if every_n_epochs < 1:
            raise StabError(f"every_n_epochs must be at least 1, got {every_n_epochs}")
        self.every_n_epochs = every_n_epochs

    def check(self, plan: RunPlan) -> None:
        """Checks that the model can be written to a model file."""
        check_savable(plan.model)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Writes the epoch's model, whole or not at all."""
        epoch = trainer.current_epoch
        if epoch % self.every_n_epochs == 0 and trainer.is_global_zero:
            with averaged_weights(trainer, pl_module):
                file = RunLayout(trainer.default_root_dir).epoch_model(epoch)
                save_model(pl_module.exported(), file, {"epoch": epoch}, getattr(pl_module, "microphones", None))
