"""Errors of a resumed training before its first step, which come from the checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import pytorch_lightning as pl

from asteroid_stab.errors import StabError, cause
from asteroid_stab.run.layout import RunLayout

# How Lightning, torch and callbacks stumble over a state that is not of the form that they wrote.
_STUMBLES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class GoingOn(pl.Callback):
    """Reports what fails before the first step of a resumed training as a fault of its checkpoint.

    Lightning, the optimizer, schedulers and callbacks take their states unchecked, and fail on others' in errors of
    their own, the optimizer only in its first step. All parts of the run are built and checked before.

    Args:
        checkpoint: file of the checkpoint.
        trainer: the trainer, which gets this callback.
        resumed: whether the training goes on from the checkpoint; else no error is changed.

    Raises:
        StabError: (at the end of the block) such an error; with ``ASTEROID_STAB_TRACEBACK=1`` it stays as it is.
    """

    def __init__(self, checkpoint: Path, trainer: Any, resumed: bool):
        self.checkpoint, self.resumed, self.has_stepped = checkpoint, resumed, False
        self._batch_ended = False
        trainer.callbacks.append(self)

    def on_train_batch_end(self, *_: Any) -> None:
        """Notes that the first step is done; Lightning counts it afterwards, in numbers of the checkpoint."""
        self._batch_ended = True

    def on_train_batch_start(self, *_: Any) -> None:
        """Ends the watch with the second step."""
        self.has_stepped = self._batch_ended

    def on_validation_start(self, *_: Any) -> None:
        """Ends the watch, where the epoch has one step."""
        self.has_stepped = self._batch_ended

    def on_train_epoch_end(self, *_: Any) -> None:
        """Ends the watch, where nothing is validated."""
        self.has_stepped = True

    def __enter__(self) -> GoingOn:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, _: TracebackType | None) -> None:
        ours = isinstance(error, _STUMBLES) and not isinstance(error, StabError)
        if ours and self.resumed and not self.has_stepped and not os.environ.get("ASTEROID_STAB_TRACEBACK"):
            assert error is not None
            within = self.checkpoint.name == RunLayout("").within_checkpoint.name
            mend = "remove it to go on without it" if within else "start a new run"
            raise StabError(
                f"{self.checkpoint} is of no training that this one can go on from: {cause(error)} ({mend}; "
                "ASTEROID_STAB_TRACEBACK=1 shows where it failed)"
            ) from error
