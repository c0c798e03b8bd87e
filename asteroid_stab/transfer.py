"""Values on their way between the host and a device, so that neither waits for the other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def readable(values: Tensor) -> bool:
    """Returns whether values are in the host's memory, where reading them waits for nothing.

    A step may look at such values and take the shorter way; on a GPU it takes the way that needs no look.

    Example:
        >>> readable(torch.zeros(2)), readable(torch.zeros(2, device="meta"))
        (True, False)
    """
    return values.device.type == "cpu"


def send(values: Any, device: torch.device) -> Tensor:
    """Returns values of the host as a tensor on a device.

    A plain copy to a GPU waits until the GPU has done all that it was given before; one from pinned memory does not.

    Args:
        values: numbers, a NumPy array or a tensor on the CPU.
        device: where they are needed.

    Example:
        >>> send([2, 0, 1], torch.device("cpu"))
        tensor([2, 0, 1])
    """
    tensor = torch.as_tensor(values)
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Arriving:
    """A small tensor that is copied to the host while the device works on.

    The copy is queued at once. :meth:`read` waits for what was queued before it and not for what came later: numbers of
    the forward pass, read after the backward pass was queued, leave a GPU without a pause.

    Args:
        values: on any device; nobody may write to them.

    Example:
        >>> Arriving(torch.tensor([1.0, 2.0])).read()
        tensor([1., 2.])
    """

    def __init__(self, values: Tensor) -> None:
        self._values, self._done = values.detach(), None
        if values.device.type == "cuda":
            pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values = pinned.copy_(self._values, non_blocking=True)
            self._done = torch.cuda.Event()
            self._done.record(torch.cuda.current_stream(values.device))

    def read(self) -> Tensor:
        """Returns the values on the host."""
        if self._done is not None:
            self._done.synchronize()
            self._done = None
        return self._values.cpu()
