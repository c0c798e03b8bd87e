"""Progress of a training on the screen: a bar on a terminal, a line for each epoch in a log."""

from __future__ import annotations

import math
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

from asteroid_stab.run.epochs import shown_epoch

_READ_EVERY_S = 0.5


def clock(seconds: float) -> str:
    """Seconds as a clock shows them.

    Example:
        >>> clock(59.6), clock(3725)
        ('1:00', '1:02:05')
    """
    minutes, secs = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"


class TimeLeft:
    """Estimates the remaining time of a training from the steps that this process has done."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._first_step = 0

    def seconds(self, trainer: pl.Trainer) -> float | None:
        """Returns the seconds left; None before the first step, and if the length is unknown."""
        if self._started is None:
            self._started, self._first_step = time.monotonic(), trainer.global_step
            return None
        done = trainer.global_step - self._first_step
        total = trainer.estimated_stepping_batches
        if done <= 0 or total == float("inf"):
            return None
        return (time.monotonic() - self._started) / done * max(0, total - trainer.global_step)


class StabProgressBar(RichProgressBar):
    """Lightning's bar, with the metrics of this package and the remaining time of the whole training."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=5, leave=False)
        self._left = TimeLeft()
        self._shown: dict[str, Any] = {}
        self._read_at = -math.inf

    def _get_train_description(self, current_epoch: int) -> str:
        """Counts epochs from 1; Lightning counts from 0 and has no public place to change it."""
        last = self.trainer.max_epochs
        text = f"Epoch {shown_epoch(current_epoch)}" + ("" if last is None or last < 0 else f"/{last}")
        return f"{text:{len(self.validation_description)}}"  # bars of one width do not flicker

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Loss, validation SI-SDRi, switch ratio, time left; read twice a second, as a GPU is waited for each time."""
        if time.monotonic() - self._read_at > _READ_EVERY_S:
            self._shown = super().get_metrics(trainer, pl_module)
            self._shown.pop("v_num", None)
            self._read_at = time.monotonic()
        left = self._left.seconds(trainer)
        return {**self._shown, "left": "?" if left is None else clock(left)}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Shows the figures of the epoch."""
        self._read_at = -math.inf
        super().on_train_epoch_end(trainer, pl_module)


class EpochLines(pl.Callback):
    """One line for each epoch, for logs and pipes."""

    _SHOWN = (
        ("train/loss", "loss {:.2f}"),  # of an assignment or a mask in dB, else in its own unit
        ("val/si_sdr_i", "val SI-SDRi {:.2f} dB"),
        ("val/score", "val score {:.3f}"),
        ("train/switch_ratio", "switch ratio {:.1%}"),
    )

    def __init__(self) -> None:
        self._left = TimeLeft()

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Keeps the clock running."""
        self._left.seconds(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the epoch's line."""
        if not trainer.is_global_zero:
            return
        metrics = trainer.callback_metrics
        parts = [text.format(metrics[name].item()) for name, text in self._SHOWN if name in metrics]
        left = self._left.seconds(trainer)
        parts += [] if left is None else [f"{clock(left)} left"]
        print(f"epoch {shown_epoch(trainer.current_epoch)}/{trainer.max_epochs}: " + ", ".join(parts), flush=True)
