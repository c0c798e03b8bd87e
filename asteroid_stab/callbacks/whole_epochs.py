"""Trainings that end between epochs: a part of one is not kept, and a resumed run trains that epoch again."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Timer

from asteroid_stab.callbacks.loaders import batches_done, epoch_is_whole, steps_per_epoch
from asteroid_stab.data.sampler import epochs_done
from asteroid_stab.errors import StabError
from asteroid_stab.run.epochs import shown_epoch


class EndedWithinEpochError(Exception):
    """The training ended within an epoch; the message says where and why."""


class WholeEpochs(pl.Callback):
    """Ends a training between epochs, so that no checkpoint, table or model holds a part of one.

    A limit of steps ends the training after the last epoch that fits into it; Lightning would count a part as an epoch,
    and a resumed run would leave the rest out. A limit of time may end it within an epoch: then nothing of this epoch
    is written, and a resumed run trains it from its start. The time counts from the start of each process, as the
    limit of a cluster's job does. From a checkpoint within an epoch (:class:`~asteroid_stab.callbacks.RunCheckpoint`)
    the rest of the epoch is trained. The callback must come before all callbacks that write.

    Args:
        max_steps: optimizer steps, of all epochs; -1: no limit.

    Attributes:
        steps_left: steps of ``max_steps`` that were not trained because their epoch would not have been whole.
        within_epoch: whether the training, which went on within an epoch, ended there, since the rest of it does not
            fit.

    Raises:
        StabError: ``max_steps`` is out of range, or less than the steps of the first epoch.
        EndedWithinEpochError: the training ended within an epoch.
    """

    def __init__(self, max_steps: int = -1):
        if isinstance(max_steps, bool) or not isinstance(max_steps, int) or (max_steps < 1 and max_steps != -1):
            raise StabError(
                f"trainer.max_steps must be a whole number of at least 1, or -1 for no end, got {max_steps}"
            )
        self.max_steps = max_steps
        self.steps_left = 0
        self.within_epoch = False

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Starts the clock of ``trainer.max_time`` again: the limit of the job that went before is over."""
        checkpoint.get("callbacks", {}).pop("Timer", None)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks that an epoch fits into the limit of steps.

        Raises:
            StabError: not one fits, so that there would be no model.
        """
        n_steps = steps_per_epoch(trainer)
        if self.max_steps != -1 and n_steps is None:
            raise StabError("trainer.max_steps needs training data with a length, to know how many epochs fit into it")
        if trainer.global_step == 0 and n_steps is not None and 0 < self.max_steps < n_steps:
            raise StabError(
                f"trainer.max_steps must be at least the {n_steps} steps of an epoch, got {self.max_steps}: only whole "
                f"epochs are kept, so there would be no model (trainer.limit_train_batches=... makes epochs shorter)"
            )
        self._stop_where_no_epoch_fits(trainer, batches_done(trainer) // trainer.accumulate_grad_batches)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks that the epoch was whole, and whether another one fits into the limit of steps.

        Raises:
            EndedWithinEpochError: it was not whole.
        """
        if not epoch_is_whole(trainer):
            timers = [part for part in trainer.callbacks if isinstance(part, Timer)]  # type: ignore[attr-defined]
            why = "trainer.max_time" if any((part.time_remaining() or 1) <= 0 for part in timers) else "a callback"
            done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
            raise EndedWithinEpochError(
                f"ended by {why} in epoch {shown_epoch(trainer.current_epoch)}, after {done} of "
                f"{trainer.num_training_batches} batches"
            )
        self._stop_where_no_epoch_fits(trainer)

    def _stop_where_no_epoch_fits(self, trainer: pl.Trainer, n_within: int = 0) -> None:
        """Ends the training where the next epoch does not fit, ``n_within`` steps of which are done already."""
        n_steps = steps_per_epoch(trainer)
        if self.max_steps == -1 or n_steps is None:
            return
        left = max(0, self.max_steps - trainer.global_step)
        if left < n_steps - n_within:
            last = trainer.max_epochs or -1
            has_all_epochs = 0 <= last <= epochs_done(trainer)
            self.steps_left, trainer.should_stop = 0 if has_all_epochs else left, True
            self.within_epoch = n_within > 0
