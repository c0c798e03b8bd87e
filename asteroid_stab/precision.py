"""Float64 where the device has it: Apple's MPS does not."""

from __future__ import annotations

import torch
from torch import Tensor

WITHOUT_FLOAT64 = {"mps"}
"""Types of devices without float64."""


def precise_dtype(device: torch.device) -> torch.dtype:
    """Returns the most precise type of a device.

    Example:
        >>> precise_dtype(torch.device("cpu")), precise_dtype(torch.device("mps"))
        (torch.float64, torch.float32)
    """
    return torch.float32 if device.type in WITHOUT_FLOAT64 else torch.float64


def as_double(values: Tensor) -> Tensor:
    """Returns values in float64: on their device, or on the CPU where the device has none.

    Example:
        >>> as_double(torch.ones(2)).dtype
        torch.float64
    """
    return (values.cpu() if precise_dtype(values.device) == torch.float32 else values).double()


def add_exactly(total: Tensor, part: Tensor) -> Tensor:
    """Adds to a sum that is held as two float32 numbers, the second the rounding errors of the first.

    Together they have about 48 bits: a sum of millions of parts is as good as one in float64 for what we report.

    Args:
        total: the sum so far, and its error.
        part: what is added.

    Shapes:
        total: [2]; part: []; returns: [2].

    Example:
        >>> total = torch.tensor([2.0**24, 0.0])
        >>> for _ in range(3):
        ...     total = add_exactly(total, torch.tensor(1.0))  # which float32 alone would lose
        >>> as_double(total).sum() - 2**24
        tensor(3., dtype=torch.float64)

    References:
        Knuth, "The Art of Computer Programming", volume 2, 1969, section 4.2.2, theorem B.
    """
    before, error = total
    after = before + part
    added = after - before
    lost = (before - (after - added)) + (part - added)
    return torch.stack([after, error + lost])
