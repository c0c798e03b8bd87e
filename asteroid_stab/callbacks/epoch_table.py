"""``metrics.csv``: a row for each epoch, with all logged metrics."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd
import pytorch_lightning as pl

from asteroid_stab.atomic import write_text
from asteroid_stab.run.layout import RunLayout


class EpochTable(pl.Callback):
    """Writes the epoch's logged metrics, its learning rate and its seconds to ``metrics.csv`` in the run folder.

    Epochs are counted from 0 in the table, from 1 on the screen. The rows are kept in the checkpoint, so that a resumed
    run has the same table as an undisturbed one, except for the seconds. The callback must come after the callbacks
    whose metrics it should hold.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._started, self._rate = 0.0, 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock, and keeps the learning rate of the epoch before a scheduler changes it."""
        self._started = time.monotonic()
        self._rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Adds the epoch's row."""
        logged = {k: v.item() for k, v in trainer.callback_metrics.items() if k != "train/step_loss"}
        self.rows.append(
            {
                "epoch": trainer.current_epoch,
                "step": trainer.global_step,
                **dict(sorted(logged.items())),
                "lr": self._rate,
                "seconds": round(time.monotonic() - self._started, 3),
            }
        )
        if trainer.is_global_zero:
            table = pd.DataFrame(self.rows)
            write_text(RunLayout(trainer.default_root_dir).metrics, table.to_csv(index=False))

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, and the present epoch's learning rate and seconds."""
        return {"rows": list(self.rows), "lr": self._rate, "seconds": time.monotonic() - self._started}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the rows of a checkpoint.

        Raises:
            ValueError: they are no rows of numbers.
        """
        rows = [dict(row) for row in state_dict["rows"]]
        for row in rows:
            if wrong := next((name for name, value in row.items() if not isinstance(value, (int, float))), None):
                raise ValueError(f"the epochs' table must hold numbers, got {row[wrong]!r} under {wrong!r}")
        self.rows = rows
        # A training that goes on within an epoch does not start it again; another epoch sets both.
        self._rate, self._started = state_dict.get("lr", 0.0), time.monotonic() - state_dict.get("seconds", 0.0)
