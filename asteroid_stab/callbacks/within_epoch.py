"""State of each process within an epoch, for a checkpoint that is written there."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from asteroid_stab.errors import StabError

_EXTRA_STATE = "._extra_state"  # torch's name of what a module keeps beside its tensors


def within_epoch(trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Any]:
    """Returns what a checkpoint within an epoch holds besides the weights and the optimizer, which all processes share.

    ``ranks`` is what each process knows: its callbacks, its part of the epoch's sums, its random numbers; the rest is
    what must be the same to go on. All processes must call it.
    """
    own, n_ranks = _state(trainer, module), trainer.world_size
    states: list[Any] = [own]
    if n_ranks > 1:
        states = [None] * n_ranks
        dist.all_gather_object(states, own)
    return {
        "ranks": states,
        "n_ranks": n_ranks,
        "batch_size": getattr(trainer.train_dataloader, "batch_size", None),
        "accumulate": trainer.accumulate_grad_batches,
        "limit": trainer.limit_train_batches,  # with fewer batches the epoch may be over, which Lightning does not end
    }


def _state(trainer: pl.Trainer, module: Any) -> dict[str, Any]:
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    extra = {name: value for name, value in module.state_dict().items() if name.endswith(_EXTRA_STATE)}
    sums = module.state_within_epoch() if hasattr(module, "state_within_epoch") else {}
    return {
        "callbacks": {callback.state_key: state for callback in callbacks if (state := callback.state_dict())},
        "extra": extra,
        "sums": sums,
        "random": _random_state(module.device),
    }


def load_state(module: Any, state: dict[str, Any]) -> None:
    """Gives the module its own part of :func:`within_epoch`; Lightning gives the callbacks theirs.

    To be called right before the next step: what comes before it may draw random numbers.
    """
    for name, value in state["extra"].items():
        module.get_submodule(name.removesuffix(_EXTRA_STATE)).set_extra_state(value)
    if hasattr(module, "load_state_within_epoch"):
        module.load_state_within_epoch(state["sums"])
    _load_random_state(module.device, state["random"])


def check_loaders(trainer: pl.Trainer) -> None:
    """Checks that a training can go on within an epoch.

    Raises:
        StabError: its data cannot start there.
    """
    for loader in getattr(trainer.fit_loop._combined_loader, "flattened", ()):
        if isinstance(loader, DataLoader) and not hasattr(loader, "load_state_dict"):
            raise StabError(
                f"checkpoint.every_n_steps needs training data that can start within an epoch, and "
                f"{type(loader).__name__} cannot: use asteroid_stab.data.EpochLoader, or a loader with state_dict() "
                "and load_state_dict()"
            )


def _random_state(device: torch.device) -> dict[str, Any]:
    """State of the generators that a step on this device draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state()
    return state


def _load_random_state(device: torch.device, state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type in state and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state[device.type])
