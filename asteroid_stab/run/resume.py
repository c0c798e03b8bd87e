"""Going on with a run: the config that it goes on with, and whether its checkpoint fits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from asteroid_stab.errors import StabError
from asteroid_stab.models.saved import check_kinds, check_weights, read_saved
from asteroid_stab.run.caches import check_caches
from asteroid_stab.run.check import check_config
from asteroid_stab.run.checkpoints import upgrade_checkpoint
from asteroid_stab.run.folder import RunFolder
from asteroid_stab.run.overrides import apply, is_plain, keys, read

CHANGEABLE = ("data", "loader", "trainer", "logger", "checkpoint")
"""The groups of a config whose keys may change in a resumed run: where and how it is trained, not what."""

_PLACES = ("dirpath", "save_dir", "default_root_dir", "root_dir")
"""Arguments of Lightning's classes that name a folder to write to."""
# What Lightning writes, as far as it trips over anything else.
_PARTS = {
    "epoch": int,
    "global_step": int,
    "pytorch-lightning_version": str,
    "callbacks": dict,
    "loops": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
}
_EXTRA_STATE = "_extra_state"  # torch's name of what a module keeps beside its weights
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


def resumed_config(run: str, recipe: str | None, overrides: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """Returns the checked config with which a run goes on.

    Args:
        run: the run folder; it may have been moved.
        recipe: the recipe that the run should be of; None: any.
        overrides: changes of keys of the groups in :data:`CHANGEABLE`.
        config_dir: a folder of the user's own recipes, whose classes are trusted.

    Raises:
        StabError: the config names a class that is not trusted, or a folder outside the run folder to write to; there
            is no run, it is of another recipe, an override changes something else or a key that the config does not
            have, or the learning rate has come to its end.
    """
    folder = RunFolder(run, config_dir)
    folder.check_whole()
    if recipe not in (None, folder.config.recipe):
        raise StabError(f"{run} is a run of {folder.config.recipe!r}, not of {recipe!r}")
    folder.check_trusted()
    _check_places(folder)
    config = apply(folder.config, overrides)
    for text in overrides:
        if not may_change(text):
            key = read(text).key_or_group
            raise StabError(f"a resumed run may change keys of {', '.join(CHANGEABLE)}, not {key!r}: start a new run")
    check_caches(OmegaConf.create({"data": config.data}), folder.path, overrides)
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


def _check_places(folder: RunFolder) -> None:
    """Checks that no host's part writes outside the run folder: its config may be somebody else's.

    Raises:
        StabError: one does.
    """
    home = folder.path.resolve()
    for part in ("callbacks", "trainer"):  # the logger's save_dir is the run folder in any case
        for key in keys(OmegaConf.create({part: folder.config[part]})):
            value = OmegaConf.select(folder.config, key) if key.rpartition(".")[2] in _PLACES else None
            if value is not None and not Path(str(value)).resolve().is_relative_to(home):
                raise StabError(f"{folder.layout.config}: {key}={value} is outside the run folder: start a new run")


def check_checkpoint(path: Path, system: torch.nn.Module) -> dict[str, Any]:
    """Returns the content of a checkpoint that training can go on from, before any file is changed.

    Raises:
        StabError: the file is damaged, or its weights belong to another model.
    """
    saved = read_saved(path, "checkpoint")
    if not isinstance(saved, dict) or "state_dict" not in saved:
        raise StabError(f"{path} is no readable checkpoint: it has no state_dict")
    for name, kind in _PARTS.items():
        if name in saved and not isinstance(saved[name], kind):
            got = type(saved[name]).__name__
            raise StabError(f"{path} is no readable checkpoint: its {name} must be a {kind.__name__}, got {got}")
    if unnamed := next((key for key in saved.get("callbacks", {}) if not isinstance(key, str)), None):
        raise StabError(f"{path} is no readable checkpoint: its callbacks must have names, got {unnamed!r}")
    state = saved["state_dict"]
    if isinstance(state, dict):  # losses keep more than tensors in it, such as the labels that they fixed
        state = {name: value for name, value in state.items() if not str(name).endswith(_EXTRA_STATE)}
    check_weights(state, str(path))
    saved = upgrade_checkpoint(saved)
    wanted, found = (
        {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
        for state in (system.state_dict(), saved["state_dict"])
    )
    for name in [*wanted, *found]:
        if name not in found or name not in wanted or found[name].shape != wanted[name].shape:
            shapes = [tuple(part[name].shape) if name in part else "nothing" for part in (found, wanted)]
            raise StabError(f"{path} is of another model: for {name} it has {shapes[0]}, the config's has {shapes[1]}")
    check_kinds(wanted, found, str(path))
    return saved


def stopped_early(saved: dict[str, Any]) -> bool:
    """Whether ``EarlyStopping`` has ended the run of a checkpoint; resumed, it would train one epoch more."""
    states = [state for key, state in saved.get("callbacks", {}).items() if key.startswith("EarlyStopping")]
    return any(state["wait_count"] >= state["patience"] for state in states)
