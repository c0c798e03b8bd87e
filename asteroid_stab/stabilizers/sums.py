"""Sums over the items of an epoch and of all processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class EpochSums:
    """Named sums that stay on the device until they are asked for: adding costs no synchronisation.

    Example:
        >>> sums = EpochSums()
        >>> sums.add(loss=torch.tensor([1.0, 2.0]), items=torch.tensor([True, True]))
        >>> sums.add(loss=torch.tensor(3.0), items=torch.tensor(1))
        >>> sums.total(["loss", "items", "never"])
        {'loss': 6.0, 'items': 3.0, 'never': 0.0}
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def reset(self) -> None:
        """Starts again from zero."""
        self._sums = {}

    @property
    def names(self) -> list[str]:
        """Names of the sums so far, sorted."""
        return sorted(self._sums)

    def add(self, **values: Tensor) -> None:
        """Adds the sum of each tensor to the sum of that name."""
        for name, value in values.items():
            part = value.detach().sum(dtype=torch.float64)
            before = self._sums.get(name)
            self._sums[name] = part if before is None else before.to(part.device) + part

    def total(self, names: list[str], gather: Callable[[Tensor], Tensor] | None = None) -> dict[str, float]:
        """Returns the sums of ``names`` over all processes; 0 for a name that was never added.

        Args:
            names: the same on every process.
            gather: stacks a vector ``[n]`` of every process to ``[R, n]``; None where there is one process.
        """
        device = next(iter(self._sums.values())).device if self._sums else torch.device("cpu")
        zero = torch.zeros((), dtype=torch.float64, device=device)
        values = torch.stack([self._sums.get(name, zero) for name in names])
        if gather is not None:
            values = gather(values).sum(0)
        return dict(zip(names, values.tolist(), strict=True))

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the sums by name."""
        return {name: value.cpu() for name, value in self._sums.items()}

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        """Takes saved sums."""
        self._sums = dict(state_dict)
