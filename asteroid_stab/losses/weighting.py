"""The weighted mean of a batch's losses under the stabilizers' logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class WeightedMean(NamedTuple):
    """A weighted mean over the global batch.

    Attributes:
        value: this process' part of the mean, a scalar with a graph; the mean itself is the sum over the processes.
        weights: weight of every loss, detached; they sum to one over all processes (or to zero, see ``mass``).
        mass: sum of ``exp(logit - largest logit)`` over all processes; 0 if nothing is left to learn from.
    """

    value: Tensor
    weights: Tensor
    mass: Tensor


def sum_logits(parts: list[Tensor]) -> Tensor | None:
    """Returns the sum of logits ``[B]`` and ``[B, J]``, or None if there are none.

    An item's logit counts for each of its sources.

    Example:
        >>> sum_logits([torch.tensor([0.0, 1.0]), torch.tensor([[1.0, 2.0], [3.0, 4.0]])])
        tensor([[1., 2.],
                [4., 5.]])
    """
    if not parts:
        return None
    axes = max(part.ndim for part in parts)
    return torch.stack(torch.broadcast_tensors(*(p.unsqueeze(-1) if p.ndim < axes else p for p in parts))).sum(0)


def weighted_mean(
    loss: Tensor, logits: Tensor | None = None, gather: Callable[[Tensor], Tensor] | None = None
) -> WeightedMean:
    r"""Computes the mean of ``loss`` under a softmax of ``logits`` over the batches of all processes.

    .. math:: \sum_i w_i L_i, \qquad w_i = \exp F_i / \sum_{j \in \text{all processes}} \exp F_j

    Logits of zero give the plain mean, to the bit. A logit of :math:`-\infty` drops a loss. Undefined losses (not
    finite) have weight 0 and pass no gradient.

    Args:
        loss: per item ``[B]`` or per source ``[B, J]``, lower is better.
        logits: ``[B]`` or the shape of ``loss``; detached here. An item's logit counts for each of its sources.
        gather: stacks a vector ``[2]`` of every process to ``[R, 2]``; None for one process.

    Example:
        >>> mean = weighted_mean(torch.tensor([1.0, 3.0, float("nan")]))
        >>> mean.value, mean.weights
        (tensor(2.), tensor([0.5000, 0.5000, 0.0000]))
        >>> weighted_mean(torch.tensor([1.0, 3.0]), torch.tensor([0.0, float("-inf")])).value
        tensor(1.)

    References:
        Tzinis et al., "Unified gradient reweighting", ICASSP 2021, eq. (3) and (4).
    """
    defined = torch.isfinite(loss.detach())
    filled = torch.where(defined, loss, torch.zeros_like(loss))
    f = torch.zeros_like(filled) if logits is None else logits.detach().to(filled.dtype)
    if f.ndim < filled.ndim:
        f = f.unsqueeze(-1)
    f = torch.where(defined, f.expand_as(filled), torch.full_like(filled, -torch.inf)).detach()

    top = f.max() if f.numel() else f.new_full((), -torch.inf)  # a rank may have an empty batch
    top = torch.where(torch.isneginf(top), torch.zeros_like(top), top)  # nothing here: exp(-inf - 0) is 0
    parts = torch.stack([top, (f - top).exp().sum()])
    parts = parts.unsqueeze(0) if gather is None else gather(parts)
    tops, masses = parts[:, 0], parts[:, 1]
    # The largest logit among the processes that have any; a process without one must not raise it.
    highest = torch.where(masses > 0, tops, torch.full_like(tops, -torch.inf)).max()
    highest = torch.where(torch.isneginf(highest), torch.zeros_like(highest), highest)
    mass = torch.where(masses > 0, masses * (tops - highest).exp(), torch.zeros_like(masses)).sum()

    u = (f - highest).exp()
    # An empty batch keeps its graph, so that DDP's hooks fire on every rank.
    safe = torch.where(mass > 0, mass, torch.ones_like(mass))
    return WeightedMean((u * filled).sum() / safe, u / safe, mass)
