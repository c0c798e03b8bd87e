"""Sums over the items of an epoch and of all processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from asteroid_stab.precision import add_exactly, as_double, precise_dtype


class EpochSums:
    """Named sums that stay on the device until they are asked for: adding costs no synchronisation.

    They are float64; on a device that has none, each is two numbers (:func:`asteroid_stab.precision.add_exactly`).

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
            part = value.detach().sum(dtype=precise_dtype(value.device))
            before = self._sums.get(name)
            if part.dtype == torch.float32:
                self._sums[name] = add_exactly(_as_pair(before, part), part)
            else:
                self._sums[name] = part if before is None else before.to(part.device) + part

    def total(self, names: list[str], gather: Callable[[Tensor], Tensor] | None = None) -> dict[str, float]:
        """Returns the sums of ``names`` over all processes; 0 for a name that was never added.

        Args:
            names: the same on every process.
            gather: stacks a vector ``[n]`` of every process to ``[R, n]``; None where there is one process.
        """
        sums = {name: _as_one(value) for name, value in self._sums.items()}
        places = [value.device for value in sums.values()]  # sums of a saved state may still be on the CPU
        device = next((place for place in places if place.type != "cpu"), torch.device("cpu"))
        zero = torch.zeros((), dtype=torch.float64, device=device)
        values = torch.stack([sums.get(name, zero).to(device) for name in names])
        if gather is not None:
            values = gather(values).sum(0)
        return dict(zip(names, values.tolist(), strict=True))

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the sums by name."""
        return {name: _as_one(value).cpu() for name, value in self._sums.items()}

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        """Takes saved sums.

        Raises:
            ValueError: one is not a number.
        """
        for name, value in state_dict.items():
            if not isinstance(value, Tensor) or value.ndim or not value.is_floating_point():
                raise ValueError(f"the saved sum {name!r} must be a number, got {value!r}")
        self._sums = dict(state_dict)


def _as_one(value: Tensor) -> Tensor:
    """A sum in float64; a pair that is not finite has no error."""
    if value.ndim == 0:
        return value
    total, error = as_double(value)
    return torch.where(torch.isfinite(total), total + error, total)


def _as_pair(value: Tensor | None, like: Tensor) -> Tensor:
    """A sum as a pair on the device of ``like``; one in float64 is that of a saved state."""
    if value is None:
        return like.new_zeros(2)
    if value.ndim:
        return value
    total = value.float()
    return torch.stack([total, (value - total).float()]).to(like.device)
