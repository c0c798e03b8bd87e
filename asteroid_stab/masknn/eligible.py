"""Where the faster layers of this package compute: everywhere else, the layers of torch and Asteroid do."""

from __future__ import annotations

import torch
from torch import Tensor


def eligible(x: Tensor, weight: Tensor) -> bool:
    """Whether a layer is computed in float32 or wider on a CPU, and nothing rewrites its operations.

    Example:
        >>> eligible(torch.ones(1), torch.ones(1)), eligible(torch.ones(1).half(), torch.ones(1).half())
        (True, False)
    """
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )
