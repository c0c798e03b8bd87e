"""Checks of a step's arguments: what can be seen on the host at once, what is on a GPU at the end of the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.microphones import reference
from asteroid_stab.transfer import readable, send


class LateChecks:
    """Checks values of tensors without a wait for the device.

    On a CPU a fault is raised at once. On a GPU that would stall every step, so faults are kept on the device and
    raised by :meth:`raise_found`, at the end of an epoch.

    Example:
        >>> checks = LateChecks()
        >>> checks.refuse(torch.tensor([0, 7]) > 4, "ids must be below 5")
        Traceback (most recent call last):
        ValueError: ids must be below 5
    """

    def __init__(self) -> None:
        self._found: dict[str, Tensor] = {}  # on a GPU: whether the fault was seen

    def refuse(self, wrong: Tensor, message: str) -> None:
        """Refuses a step in which an entry of ``wrong`` is true.

        Args:
            wrong: bool, of any shape.
            message: of the error.

        Raises:
            ValueError: one is, and the tensor is on a CPU.
        """
        seen = wrong.any()
        if readable(wrong):
            if seen:
                raise ValueError(message)
        else:
            before = self._found.get(message)
            self._found[message] = seen if before is None else before | seen

    def raise_found(self) -> None:
        """Raises the first fault found on a GPU since the last call.

        Raises:
            ValueError: there was one.
        """
        found, self._found = self._found, {}
        for message, seen in found.items():
            if seen:
                raise ValueError(f"in an earlier step: {message}")


def check_mixture(mixture: Any, broken: Any, targets: Tensor, needing: Sequence[str]) -> Tensor | None:
    """Returns the reference microphone's mixture ``[B, T]`` for targets ``[B, J, T]``; checks its mask ``[B]`` too.

    Args:
        mixture: the mixture, ``[B, T]`` or ``[B, C, T]`` of C microphones, the reference first; or None.
        broken: mask of the mixtures that are not finite, or None.
        targets: the sources.
        needing: class names of the parts that need the mixture.

    Raises:
        ValueError: it is missing, or has another shape; the mask is none.
    """
    wanted = [targets.shape[0], targets.shape[-1]]
    if mixture is None and needing:
        raise ValueError(
            f"{needing[0]} goes by the improvement over the mixture: call the stabilization with mixture=, got None"
        )
    heard = reference(mixture) if isinstance(mixture, Tensor) and 0 not in mixture.shape else mixture
    if mixture is not None and (not isinstance(heard, Tensor) or list(heard.shape) != wanted):
        got = list(mixture.shape) if isinstance(mixture, Tensor) else type(mixture).__name__
        raise ValueError(
            f"mixture must be a tensor [B, T] of shape {wanted}, as targets {list(targets.shape)} are [B, J, T], or "
            f"[B, C, T] of several microphones, the reference first, got {got}"
        )
    if broken is None:
        return heard
    if not isinstance(broken, Tensor) or broken.dtype != torch.bool or list(broken.shape) != wanted[:1]:
        got = f"{broken.dtype} of shape {list(broken.shape)}" if isinstance(broken, Tensor) else type(broken).__name__
        raise ValueError(f"broken must be a bool tensor of shape {wanted[:1]}, one entry an item, got {got}")
    return heard


def checked_figures(figures: Any, device: torch.device) -> dict[str, Tensor]:
    """Returns figures as scalar tensors.

    Args:
        figures: numbers or tensors with one entry, by name.
        device: where they belong.

    Raises:
        ValueError: one is neither.
    """
    checked = {}
    for name, value in figures.items():
        is_number = isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.numel() == 1)
        if not is_number:
            got = f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"figures must be numbers or tensors with one entry, got {got} for {name!r}")
        scalar = send(value.detach(), device) if isinstance(value, Tensor) else torch.full((), value, device=device)
        checked[name] = scalar.reshape(())
    return checked
