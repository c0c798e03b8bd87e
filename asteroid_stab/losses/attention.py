"""The penalties of AttentionPIT: the distance of an attention matrix from a permutation."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def orthogonality(attention: Tensor) -> Tensor:
    """Returns the [B] mean distance of A·Aᵀ from the identity, 0 for a permutation: the bracket of eq. (10).

    Args:
        attention: [B, J, J], columns sum to 1.

    Example:
        >>> orthogonality(torch.stack([torch.eye(5)[[1, 2, 3, 4, 0]], torch.full((5, 5), 0.2)]))
        tensor([0.0000, 0.3200])
    """
    eye = torch.eye(attention.shape[-1], dtype=attention.dtype, device=attention.device)
    return (attention @ attention.mT - eye).abs().mean((1, 2))


def sparsity(attention: Tensor) -> Tensor:
    """Returns the [B] mean spread of A's rows: the bracket of eq. (11).

    0 for one entry a row, 1 for equal entries or none.

    Args:
        attention: [B, J, J], columns sum to 1.

    Example:
        >>> collapsed = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
        >>> sparsity(torch.stack([torch.eye(3)[[1, 2, 0]], torch.full((3, 3), 1 / 3), collapsed]))
        tensor([0.0000, 1.0000, 1.0000])
    """
    n_src = attention.shape[-1]
    if n_src == 1:
        return attention.sum((1, 2)) * 0.0
    peak = attention.amax(-1, keepdim=True)
    used = peak > 0
    rows = torch.where(used, attention, 1.0) / torch.where(used, peak, 1.0)  # so that small entries do not underflow
    ratio = rows.abs().sum(-1) / rows.square().sum(-1).sqrt()
    return ((ratio - 1) / (math.sqrt(n_src) - 1)).mean(-1)
