"""From a checked config to trainer, system and data; and what a run says of itself."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table

from asteroid_stab.callbacks import EpochTable, RunCheckpoint
from asteroid_stab.callbacks.freeze import named_parts
from asteroid_stab.callbacks.screen import EpochLines, StabProgressBar, clock
from asteroid_stab.engine import StabSystem
from asteroid_stab.errors import StabError
from asteroid_stab.models.files import read_saved
from asteroid_stab.models.pretrained import Transfer
from asteroid_stab.run import check
from asteroid_stab.run.checkpoints import UpgradedCheckpoints, upgrade_checkpoint
from asteroid_stab.run.metrics_table import last_part


def build_run(config: DictConfig, resumed: bool = False) -> tuple[pl.Trainer, StabSystem, Any]:
    """Trainer, system and data module of a checked config.

    Args:
        config: the config.
        resumed: weights will come from a checkpoint, so those of ``init`` are not needed.

    Raises:
        StabError: the model works at another sample rate than the data, or cannot start with the weights it is given.
    """
    if isinstance(config.seed, bool) or not isinstance(config.seed, int) or not 0 <= config.seed < 2**32:
        raise StabError(f"seed must be a whole number from 0 to 2^32 - 1, got {config.seed!r}")
    pl.seed_everything(config.seed, workers=True, verbose=False)
    corpus = check.build(config.data)
    data = check.build(config.loader, corpus)
    model = check.build(config.model)
    if model.sample_rate != corpus.sample_rate:
        raise StabError(f"the model works at {model.sample_rate:g} Hz and the data at {corpus.sample_rate:g} Hz")
    if not resumed:
        transfer = check.build(config.init, model)
        if config.init.path is not None:
            show_transfer(config.init.path, transfer, model)
    loss = check.build(config.loss)
    if bool(config.head.model) != bool(config.head.loss):
        raise StabError("head.model and head.loss belong together: both or neither (head=layerwise, head=plain)")
    if config.head.model:
        model, loss = check.build(config.head.model, model), check.build(config.head.loss, loss)
        if model.n_layers == 1:
            print("note: the model has one layer, with which head=layerwise changes nothing", flush=True)
        if not loss.trains_early:
            model.watch_early()
    pretext = check.build(config.pretext) if config.get("pretext") else None
    if pretext is not None:
        pretext.prepare(model)
    objective = loss if pretext is None else pretext
    trained = [p for module in (model, objective) for p in module.parameters() if p.requires_grad]
    factors = config.get("lr_factors") or []  # a run of an earlier version has none
    optimizer = check.build(config.optim, rate_groups(model, trained, factors, config.optim.get("lr")))
    scheduler = check.build(config.scheduler, optimizer) if config.scheduler else None
    plain = OmegaConf.to_container(config)
    system = check.build(
        config.system, model, optimizer, objective, scheduler=scheduler, config=plain, seed=config.seed
    )
    system.check_tasks(corpus.tasks)
    on_screen = sys.stdout.isatty()
    callbacks = [
        *(check.build(node) for node in (config.callbacks or {}).values()),
        *(check.build(node) for node in (config.stabilizer or {}).values()),
        EpochTable(),
        StabProgressBar() if on_screen else EpochLines(),
        RunCheckpoint(system.default_monitor, infos={"recipe": config.recipe, "seed": config.seed}),
    ]
    # Lightning's advice on workers and loggers does not fit a corpus in memory or a folder that holds its own tables.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*treespec.*", category=FutureWarning)  # Lightning 2.6 on torch 2.11
    trainer = check.build(
        config.trainer,
        callbacks=callbacks,
        logger=check.build(config.logger) if config.logger else False,
        default_root_dir=config.run_dir,
        enable_progress_bar=on_screen,
    )
    trainer.strategy.checkpoint_io = UpgradedCheckpoints()
    return trainer, system, data


def rate_groups(
    model: torch.nn.Module, trained: list[torch.nn.Parameter], factors: Sequence[Sequence[Any]], lr: float | None
) -> list[dict[str, Any]]:
    """The optimizer's groups: all that is trained, less the parts whose rate is ``lr`` times a factor of their own.

    Raises:
        StabError: a pair is none, the model has no such part, two parts share parameters, or there is no ``lr``.
    """
    if factors and lr is None:
        raise StabError("lr_factors are of optim.lr, which must be given")
    for pair in factors:
        if len(pair) != 2 or not isinstance(pair[0], str) or not _is_factor(pair[1]):
            raise StabError(f"lr_factors must be pairs of a part of the model and a factor from 0 on, got {pair}")
    parts = named_parts(model, [name for name, _ in factors])
    owner: dict[torch.nn.Parameter, str] = {}
    for name, parameters in parts.items():
        for parameter in parameters:
            if parameter in owner:
                raise StabError(f"lr_factors must name parts apart from each other, got {owner[parameter]} and {name}")
            owner[parameter] = name
    groups = [{"params": parts[name], "lr": (lr or 0.0) * factor} for name, factor in factors]
    return [{"params": [p for p in trained if p not in owner]}, *groups]


def _is_factor(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def check_checkpoint(path: Path, system: StabSystem) -> dict[str, Any]:
    """What a checkpoint holds, which can be gone on from: looked at before anything is touched.

    Raises:
        StabError: the file is damaged, or its weights are another model's.
    """
    saved = read_saved(path, "checkpoint")
    if not isinstance(saved, dict) or "state_dict" not in saved:
        raise StabError(f"{path} is no readable checkpoint: it has no state_dict")
    saved = upgrade_checkpoint(saved)
    wanted, found = (
        {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
        for state in (system.state_dict(), saved["state_dict"])
    )
    for name in [*wanted, *found]:
        if name not in found or name not in wanted or found[name].shape != wanted[name].shape:
            shapes = [tuple(part[name].shape) if name in part else "nothing" for part in (found, wanted)]
            raise StabError(f"{path} is of another model: for {name} it has {shapes[0]}, the config's has {shapes[1]}")
    return saved


def stopped_early(saved: dict[str, Any]) -> bool:
    """Whether Lightning's ``EarlyStopping`` has ended the run that a checkpoint is of; it would train an epoch more."""
    states = [state for key, state in saved.get("callbacks", {}).items() if key.startswith("EarlyStopping")]
    return any(state["wait_count"] >= state["patience"] for state in states)


@rank_zero_only
def show_transfer(path: str, transfer: Transfer, model: torch.nn.Module) -> None:
    """Prints which weights a run starts with: what was loaded, what is new, what was left out."""
    sizes = {name: value.numel() for name, value in model.state_dict().items()}
    n_loaded = sum(sizes[name] for name in transfer.loaded)
    table = Table(title=f"starts with the weights of {path}", title_justify="left")
    for column in ("", "tensors", "values", "names"):
        table.add_column(column)
    table.add_row("loaded", str(len(transfer.loaded)), f"{n_loaded:,}", "all others")
    for what, names in (("new", transfer.new), ("left out of the file", transfer.left_out)):
        n_values = f"{sum(sizes[name] for name in names):,}" if what == "new" else ""
        table.add_row(what, str(len(names)), n_values, ", ".join(names))
    Console().print(table)


def show_summary(run_dir: Path, config: DictConfig) -> None:
    """Prints the table that a training ends with."""
    if not (run_dir / "metrics.csv").exists():
        print("no epoch was trained", flush=True)
        return
    metrics = pd.read_csv(run_dir / "metrics.csv")
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
        "-" if best is None else str(metrics["epoch"][best]),
        "-" if pd.isna(gain.iloc[-1]) else f"{gain.iloc[-1]:.2f}{unit}",
        "-" if pd.isna(switches.iloc[-1]) else f"{switches.iloc[-1]:.1%}",
    )
    Console().print(table)
