"""Tables of a training on the screen: the weights that it starts with, and its result."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from omegaconf import DictConfig
from pytorch_lightning.utilities import rank_zero_only
from rich.table import Table

from asteroid_stab.callbacks.screen import clock
from asteroid_stab.models.pretrained import Transfer
from asteroid_stab.printed import print_table
from asteroid_stab.run.epochs import shown_epoch
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.metrics_table import last_part


@rank_zero_only
def show_transfer(path: str, transfer: Transfer, model: torch.nn.Module) -> None:
    """Prints which weights a run starts with: the loaded ones, the new ones, and the ones left out of the file."""
    sizes = {name: value.numel() for name, value in model.state_dict().items()}
    n_loaded = sum(sizes[name] for name in transfer.loaded)
    table = Table(title=f"starts with the weights of {path}", title_justify="left")
    for column in ("", "tensors", "values", "names"):
        table.add_column(column)
    table.add_row("loaded", str(len(transfer.loaded)), f"{n_loaded:,}", "all others")
    for what, names in (("new", transfer.new), ("left out of the file", transfer.left_out)):
        n_values = f"{sum(sizes[name] for name in names):,}" if what == "new" else ""
        table.add_row(what, str(len(names)), n_values, ", ".join(names))
    print_table(table)


def show_summary(run_dir: Path, config: DictConfig) -> None:
    """Prints the table that a training ends with."""
    file = RunLayout(run_dir).metrics
    if not file.exists():
        print("no epoch was trained", flush=True)
        return
    metrics = pd.read_csv(file, float_precision="round_trip")
    name, what, unit = "val/si_sdr_i", "SI-SDRi", " dB"
    if "val/score" in metrics:  # of a pretext task
        name, what, unit = "val/score", "score", ""
    table = Table(title=f"{config.recipe} in {run_dir}", title_justify="left")
    for column in ("epochs", "steps", "time", f"best val {what}", "at epoch", f"last val {what}", "last switch ratio"):
        table.add_column(column, justify="right")
    of_part = last_part(metrics)
    gain = of_part[name] if name in metrics else pd.Series([float("nan")] * len(of_part))
    switches = metrics["train/switch_ratio"] if "train/switch_ratio" in metrics else pd.Series([float("nan")])
    best = gain.idxmax() if gain.notna().any() else None
    table.add_row(
        str(len(metrics)),
        str(metrics["step"].iloc[-1]),
        clock(metrics["seconds"].sum()),
        "-" if best is None else f"{gain[best]:.2f}{unit}",
        "-" if best is None else str(shown_epoch(metrics["epoch"][best])),
        "-" if pd.isna(gain.iloc[-1]) else f"{gain.iloc[-1]:.2f}{unit}",
        "-" if pd.isna(switches.iloc[-1]) else f"{switches.iloc[-1]:.1%}",
    )
    print_table(table)
