"""The checkpoints of a run folder, and the model file that plain Asteroid opens."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import NoneType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from asteroid_stab.atomic import replacing, write_text
from asteroid_stab.callbacks.loaders import epoch_is_whole, validates
from asteroid_stab.callbacks.weight_average import averaged_weights
from asteroid_stab.callbacks.within_epoch import check_loaders, load_state, within_epoch
from asteroid_stab.errors import StabError
from asteroid_stab.models.files import check_savable, save_model
from asteroid_stab.run.epochs import shown_epoch
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.plan import RunPlan

log = logging.getLogger(__name__)

WITHIN_EPOCH = "within_epoch"
"""Key of a checkpoint that was written within an epoch, for what the processes knew then."""


class RunCheckpoint(Checkpoint):
    """Writes ``checkpoints/last.ckpt`` after every epoch, and ``best.ckpt`` with ``best_model.pth`` after the best.

    Lightning's ``ModelCheckpoint`` forgets its best score when the run folder has been moved, writes best and last
    under changing names, and writes no model files. This callback keeps everything relative to the run folder. A
    checkpoint is written beside its place and moved there, so a full disk or a kill leaves the old one whole. The best
    is written before the last: an epoch that was interrupted in between is repeated.

    With ``every_n_steps``, ``checkpoints/within.ckpt`` is written within epochs too, by all processes in the same step,
    and removed when the epoch is over. It holds what each process knows, so that a run that goes on from it equals one
    left alone, with as many processes.

    Args:
        monitor: the metric that makes a model the best.
        mode: whether the metric should be ``max`` or ``min``.
        infos: plain facts to keep in the model file.
        every_n_steps: steps of the optimizer between two checkpoints within epochs; None writes none.

    Raises:
        ValueError: ``mode`` is another word, ``every_n_steps`` is below 1.
        StabError: with ``every_n_steps``, the training data cannot start within an epoch.
    """

    def __init__(
        self,
        monitor: str = "val/si_sdr",
        mode: str = "max",
        infos: dict[str, Any] | None = None,
        every_n_steps: int | None = None,
    ):
        if mode not in ("max", "min"):
            raise ValueError(f"mode must be 'max' or 'min', got {mode!r}")
        if every_n_steps is not None and (isinstance(every_n_steps, bool) or every_n_steps < 1):
            raise ValueError(f"every_n_steps must be at least 1, or null for whole epochs only, got {every_n_steps!r}")
        self.monitor, self.mode, self.infos, self.every_n_steps = monitor, mode, dict(infos or {}), every_n_steps
        self.best_score: float | None = None
        self.best_epoch: int | None = None
        self._last_step = 0
        self._written: dict[str, Any] = {}  # of the checkpoint that is being written within an epoch
        self._own: dict[str, Any] | None = None  # of this process, from a checkpoint within an epoch

    def check(self, plan: RunPlan) -> None:
        """Checks that the model can be written to a model file."""
        check_savable(plan.model)

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Checks that the data can start within an epoch, if that is asked for."""
        self._last_step = trainer.global_step
        if self.every_n_steps is not None:
            check_loaders(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Notes in the run folder that there is no checkpoint yet."""
        run = RunLayout(trainer.default_root_dir)
        if trainer.is_global_zero and not run.last_checkpoint.exists() and not run.first_epoch.exists():
            write_text(run.first_epoch, "No epoch of this run has ended yet.\n")

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        """Goes on from a checkpoint within an epoch: as the last callback, right before the step."""
        if self._own is not None:
            load_state(pl_module, self._own)
            self._own = None

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        """Writes a checkpoint within the epoch, if one is due after this step of the optimizer."""
        step = trainer.global_step
        if self.every_n_steps is None or step == self._last_step:  # batches are accumulated
            return
        self._last_step = step
        if step % self.every_n_steps == 0 and not epoch_is_whole(trainer):
            self._written = {WITHIN_EPOCH: within_epoch(trainer, pl_module)}
            self._save(trainer, RunLayout(trainer.default_root_dir).within_checkpoint)
            self._written = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Writes the epoch's checkpoints; Lightning calls checkpoint callbacks after all others.

        Nothing is written of an epoch that ended before its last batch: a resumed run would leave the rest out.
        """
        if not epoch_is_whole(trainer):
            log.warning("epoch %d ended within: it has no checkpoint", shown_epoch(trainer.current_epoch))
            return
        run = RunLayout(trainer.default_root_dir)
        score = trainer.callback_metrics.get(self.monitor)
        # Without a validation set every epoch is the best so far; an epoch that was not validated is not.
        if self._is_better(float(score)) if score is not None else not validates(trainer):
            self.best_score = None if score is None else float(score)
            self.best_epoch = trainer.current_epoch
            self._save(trainer, run.best_checkpoint)
            if trainer.is_global_zero:
                facts = {**self.infos, "epoch": self.best_epoch, self.monitor: self.best_score}
                with self._explained(run.model), averaged_weights(trainer, pl_module):
                    save_model(pl_module.exported(), run.model, facts, getattr(pl_module, "microphones", None))
        self._save(trainer, run.last_checkpoint)
        if trainer.is_global_zero:
            run.first_epoch.unlink(missing_ok=True)
            run.within_checkpoint.unlink(missing_ok=True)

    def forget_best(self) -> None:
        """Makes the next epoch the best so far."""
        self.best_score = self.best_epoch = None

    def _is_better(self, score: float) -> bool:
        if self.best_score is None or math.isnan(self.best_score):
            return True
        return score > self.best_score if self.mode == "max" else score < self.best_score

    def _save(self, trainer: pl.Trainer, path: Path) -> None:
        if trainer.is_global_zero:
            with self._explained(path), replacing(path) as beside:
                trainer.save_checkpoint(beside)
        else:
            trainer.save_checkpoint(path)  # all ranks must call it; only the first writes
        trainer.strategy.barrier()

    @staticmethod
    @contextmanager
    def _explained(path: Path) -> Iterator[None]:
        """Adds to the error of a failed write how the run can go on."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            # torch reports a full disk as a RuntimeError of its zip writer
            if isinstance(error, OSError) or "PytorchStreamWriter" in str(error) or "unexpected pos" in str(error):
                raise StabError(
                    f"could not write {path} ({error}); the checkpoint before it is whole: make room, then go on "
                    "with resume=RUN"
                ) from error
            raise

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Adds what each process knows to a checkpoint within an epoch."""
        checkpoint.update(self._written)

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Takes what this process knew within the epoch.

        Raises:
            StabError: there were more or fewer processes.
        """
        if WITHIN_EPOCH not in checkpoint:
            return
        states = checkpoint[WITHIN_EPOCH]["ranks"]
        if len(states) != trainer.world_size:
            raise StabError(
                f"a checkpoint within an epoch goes on with as many processes as wrote it, {len(states)}, got "
                f"{trainer.world_size}: take one of a whole epoch"
            )
        self._own = states[trainer.global_rank]
        # A callback before this one may have taken a state out, as the clock of trainer.max_time.
        gone = {*states[0]["callbacks"]} - {*checkpoint["callbacks"]}
        checkpoint["callbacks"] = {name: one for name, one in self._own["callbacks"].items() if name not in gone}

    def state_dict(self) -> dict[str, Any]:
        """Score and epoch of the best model so far."""
        return {"best_score": self.best_score, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes score and epoch of a checkpoint.

        Raises:
            ValueError: they are no numbers.
        """
        score, epoch = state_dict["best_score"], state_dict["best_epoch"]
        if not isinstance(score, (int, float, NoneType)) or not isinstance(epoch, (int, NoneType)):
            raise ValueError(f"score and epoch of the best model must be numbers, got {score!r} and {epoch!r}")
        self.best_score, self.best_epoch = score, epoch
