"""Figures of an epoch in Lightning's log."""

from __future__ import annotations

import pytorch_lightning as pl


def log_epoch(module: pl.LightningModule, name: str, value: float, prog_bar: bool = False) -> None:
    """Logs a figure of an epoch that every process has computed over all of them.

    Lightning would warn that it is not averaged over the processes (``sync_dist``), and the average of equal values may
    differ from them by rounding: ``rank_zero_only`` leaves it out, and the value is logged everywhere all the same.

    Args:
        module: the module that is trained.
        name: of the figure.
        value: the same on every process.
        prog_bar: whether the progress bar shows it.
    """
    module.log(name, value, on_step=False, on_epoch=True, prog_bar=prog_bar, sync_dist=True, rank_zero_only=True)
