"""Moves a model to the device that the user wants."""

from __future__ import annotations

import torch
from torch import nn

from asteroid_stab.errors import StabError


def to_device(model: nn.Module, device: str) -> nn.Module:
    """Moves ``model`` to ``device``.

    Args:
        model: any module.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ...

    Raises:
        StabError: this machine has no such device, or torch does not know its name.
    """
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise StabError(f"--device must be cpu, cuda, cuda:1, ..., got {device!r}") from error
    n_gpus = torch.cuda.device_count()
    if place.type == "cuda" and (place.index or 0) >= n_gpus:
        raise StabError(f"--device must be one of this machine, which has {n_gpus} GPUs, got {device!r}")
    if place.type == "mps" and not torch.backends.mps.is_available():
        raise StabError(f"--device must be one of this machine, which has no MPS, got {device!r}")
    if place.type not in ("cpu", "cuda", "mps"):
        raise StabError(f"--device must be cpu, cuda, cuda:1, ..., got {device!r}")
    return model.to(place)
