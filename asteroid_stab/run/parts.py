"""The parts of a config: what each must be, and which may be left out."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, NamedTuple

from asteroid_stab.errors import StabError


class Part(NamedTuple):
    """A part of a config.

    Attributes:
        kinds: imports and returns the classes that it may be built as; empty where it builds nothing of its own.
        optional: whether a run may go without it.
    """

    kinds: Callable[[], tuple[type, ...]]
    optional: bool = False


def _corpus() -> tuple[type, ...]:
    from asteroid_stab.data import Corpus

    return (Corpus,)


def _loader() -> tuple[type, ...]:
    from asteroid_stab.data import MixtureDataModule

    return (MixtureDataModule,)


def _module() -> tuple[type, ...]:
    from torch import nn

    return (nn.Module,)


def _loss() -> tuple[type, ...]:
    from asteroid_stab.losses import AssignmentLossWrapper

    return (AssignmentLossWrapper,)


def _optimizer() -> tuple[type, ...]:
    from torch.optim import Optimizer

    return (Optimizer,)


def _scheduler() -> tuple[type, ...]:
    from asteroid.engine.schedulers import BaseScheduler
    from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

    return (LRScheduler, ReduceLROnPlateau, BaseScheduler)


def _trainer() -> tuple[type, ...]:
    from pytorch_lightning import Trainer

    return (Trainer,)


def _callback() -> tuple[type, ...]:
    from pytorch_lightning import Callback

    return (Callback,)


def _logger() -> tuple[type, ...]:
    from pytorch_lightning.loggers import Logger

    return (Logger,)


def _system() -> tuple[type, ...]:
    from asteroid_stab.engine.host_system import HostSystem

    return (HostSystem,)


def _pretext() -> tuple[type, ...]:
    from asteroid_stab.pretext.base import Pretext

    return (Pretext,)


def _transfer() -> tuple[type, ...]:
    from asteroid_stab.models.pretrained import Transfer

    return (Transfer, type(None))


def _checkpoint() -> tuple[type, ...]:
    from asteroid_stab.callbacks import RunCheckpoint

    return (RunCheckpoint,)


PARTS = {
    "data": Part(_corpus),
    "loader": Part(_loader),
    "model": Part(_module),
    "loss": Part(_loss),
    "optim": Part(_optimizer),
    "scheduler": Part(_scheduler, optional=True),
    "trainer": Part(_trainer),
    "logger": Part(_logger, optional=True),
    "system": Part(_system),
    "pretext": Part(_pretext, optional=True),
    "init": Part(_transfer),
    "checkpoint": Part(_checkpoint),
}
"""Parts with a ``_target_`` of their own."""
GROUPS = {
    "head": Part(_module, optional=True),  # model and loss, both or neither
    "stabilizer": Part(_callback, optional=True),
    "callbacks": Part(_callback, optional=True),
}
"""Mappings of names to such parts."""
HEAD = ("model", "loss")
VALUES = ("recipe", "seed", "run_dir", "lr_factors", "compile")
"""Keys of a config that are plain values."""
KNOWN = (*PARTS, *GROUPS, *VALUES)


def complete(config: Mapping[str, Any], needed: Container[str] = KNOWN) -> dict[str, Any]:
    """Returns the config with an empty part for each optional one that is missing or null, in plain values.

    Args:
        config: plain mappings, lists and values.
        needed: the keys that must be there; by default all.

    Raises:
        StabError: lists all parts that are missing or of another type.
    """
    if faults := [*_faults(config, needed)]:
        raise StabError("config: " + "\n  ".join(["", *faults] if len(faults) > 1 else faults))
    new = {**config, "lr_factors": config.get("lr_factors", []), "compile": config.get("compile", False)}
    for name, part in {**PARTS, **GROUPS}.items():
        if part.optional and not new.get(name):
            new[name] = {}
    new["head"] = {**dict.fromkeys(HEAD), **new["head"]}
    return new


def _faults(config: Mapping[str, Any], needed: Container[str]) -> Iterator[str]:
    for name, part in PARTS.items():
        node = config.get(name)
        if node is None or node == {}:
            if part.optional or name not in needed:
                continue
            yield f"{name} is missing, and a run needs it"
        elif not isinstance(node, Mapping):
            yield f"{name} must be a mapping with a _target_, got {node!r}"
        elif "_target_" not in node:
            yield f"{name} has no _target_, which names the class that {', '.join(map(str, node))} are for"
    for name in GROUPS:
        group = {} if config.get(name) is None else config[name]
        if not isinstance(group, Mapping):
            yield f"{name} must be a mapping of names to parts, got {group!r}"
            continue
        for key, node in group.items():
            if name == "head" and node in (None, {}):
                continue
            if not isinstance(node, Mapping) or "_target_" not in node:
                yield f"{name}.{key} must be a mapping with a _target_, got {node!r}"
    if "run_dir" in needed and not isinstance(config.get("run_dir"), str):
        yield f"run_dir must be the name of a folder, got {config.get('run_dir')!r}"
    if not isinstance(config.get("recipe"), (str, type(None))):
        yield f"recipe must be a name, got {config.get('recipe')!r}"
    for name in ("seed", "recipe"):
        if name in needed and name not in config:
            yield f"{name} is missing, and a run needs it"
    if not isinstance(config.get("lr_factors", []), list):
        yield f"lr_factors must be a list, got {config['lr_factors']!r}"
