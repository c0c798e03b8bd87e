"""Going on with a run: the config that it goes on with, and whether its checkpoint fits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from asteroid_stab.errors import StabError
from asteroid_stab.models.files import read_saved
from asteroid_stab.run.check import check_config
from asteroid_stab.run.checkpoints import upgrade_checkpoint
from asteroid_stab.run.folder import RunFolder
from asteroid_stab.run.overrides import apply, is_plain, read

CHANGEABLE = ("data", "loader", "trainer", "logger")
"""The groups of a config whose keys may change in a resumed run: where and how it is trained, not what."""

_ENDS = {"PolynomialLR": "total_iters", "OneCycleLR": "total_steps"}
"""Schedules with an end, and the argument that says after how many epochs it comes."""


def may_change(text: str) -> bool:
    """Whether an override changes what a resumed run may change.

    Example:
        >>> words = ["data.root=/moved", "trainer.max_epochs=9", "optim.lr=1", "data=wsj0_mix", "+data.new=1"]
        >>> [word for word in words if may_change(word)]
        ['data.root=/moved', 'trainer.max_epochs=9']
    """
    change = read(text)
    group, dot, _ = change.key_or_group.partition(".")
    return is_plain(change) and group in CHANGEABLE and bool(dot)


def resumed_config(run: str, recipe: str | None, overrides: Sequence[str]) -> DictConfig:
    """Returns the checked config with which a run goes on.

    Args:
        run: the run folder; it may have been moved.
        recipe: the recipe that the run should be of; None: any.
        overrides: changes of keys of the groups in :data:`CHANGEABLE`.

    Raises:
        StabError: there is no run, it is of another recipe, an override changes something else or a key that the
            config does not have, or the learning rate has come to its end.
    """
    folder = RunFolder(run)
    if recipe not in (None, folder.config.recipe):
        raise StabError(f"{run} is a run of {folder.config.recipe!r}, not of {recipe!r}")
    config = apply(folder.config, overrides)
    for text in overrides:
        if not may_change(text):
            key = read(text).key_or_group
            raise StabError(f"a resumed run may change keys of {', '.join(CHANGEABLE)}, not {key!r}: start a new run")
    config.run_dir = str(folder.path)
    if config.logger and "save_dir" in config.logger:
        config.logger.save_dir = str(folder.path)
    check_config(config)
    target = str(config.scheduler.get("_target_")) if config.scheduler else ""
    key = _ENDS.get(target.rpartition(".")[2], "")
    end = config.scheduler.get(key) if key else None
    n_epochs = config.trainer.max_epochs
    if end is not None and (n_epochs is None or n_epochs < 0 or n_epochs > end):
        raise StabError(
            f"the learning rate of {run} ends at 0 after its {end} epochs (scheduler.{key}): more of them "
            f"would learn nothing; start a new run with init.path={run}"
        )
    return config


def check_checkpoint(path: Path, system: torch.nn.Module) -> dict[str, Any]:
    """Returns the content of a checkpoint that training can go on from, before any file is changed.

    Raises:
        StabError: the file is damaged, or its weights belong to another model.
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
    """Whether ``EarlyStopping`` has ended the run of a checkpoint; resumed, it would train one epoch more."""
    states = [state for key, state in saved.get("callbacks", {}).items() if key.startswith("EarlyStopping")]
    return any(state["wait_count"] >= state["patience"] for state in states)
