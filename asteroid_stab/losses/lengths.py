"""Losses and measures of padded items, computed on their true parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from asteroid_stab.losses.assignment import Assignment
from asteroid_stab.transfer import send

Lengths = Sequence[int] | Tensor
"""Samples of each item that are no padding. Plain integers spare a GPU the wait that a tensor on it costs."""


def check_lengths(lengths: Lengths | None, n_items: int, n_samples: int) -> list[int] | None:
    """Returns the lengths as a list; None where no item is padded.

    Raises:
        ValueError: there are more or fewer lengths than items, or one is not from 1 to ``n_samples``.

    Example:
        >>> check_lengths([80, 50], 2, 80), check_lengths(torch.tensor([80, 80]), 2, 80)
        ([80, 50], None)
    """
    if lengths is None:
        return None
    each = lengths.tolist() if isinstance(lengths, Tensor) else lengths
    fits = isinstance(each, Sequence) and len(each) == n_items
    if not fits or not all(isinstance(n, int) and 1 <= n <= n_samples for n in each):
        raise ValueError(f"lengths must be {n_items} integers from 1 to {n_samples}, one for each item, got {each}")
    return None if all(n == n_samples for n in each) else list(each)


def _groups(lengths: list[int], device: torch.device) -> Iterator[tuple[int, Tensor]]:
    """Each length, with the items that have it."""
    for length in dict.fromkeys(lengths):
        rows = [item for item, other in enumerate(lengths) if other == length]
        yield length, send(rows, device)


def on_true_parts(compute: Callable[..., Tensor], lengths: Lengths | None, *signals: Tensor | None) -> Tensor:
    """Returns what ``compute`` gives for the items without their padding; the padding has no gradient.

    Items of one length are computed together.

    Args:
        compute: maps signals to a tensor ``[B, ...]``, item by item.
        lengths: of the items; None: there is no padding.
        *signals: what ``compute`` takes, the first one a signal. None is passed on as it is; tensors of integers, such
            as permutations, are split into items and not cut.

    Shapes:
        signals: [B, ..., T]; returns: [B, ...].

    Raises:
        ValueError: the lengths do not fit the signals.

    Example:
        >>> signals = torch.tensor([[1.0, 2.0, 0.0], [4.0, 5.0, 6.0]])
        >>> on_true_parts(lambda x: x.mean(-1), [2, 3], signals)
        tensor([1.5000, 5.0000])
    """
    first = signals[0]
    assert first is not None
    each = check_lengths(lengths, len(first), first.shape[-1])
    if each is None:
        return compute(*signals)

    def cut(signal: Tensor | None, rows: Tensor, length: int) -> Tensor | None:
        if signal is None:
            return None
        return signal[rows, ..., :length] if signal.is_floating_point() else signal[rows]

    groups = list(_groups(each, first.device))
    parts = [compute(*(cut(signal, rows, length) for signal in signals)) for length, rows in groups]
    return torch.cat(parts)[torch.argsort(torch.cat([rows for _, rows in groups]))]


def assign_true_parts(
    assign: Callable[[Tensor, Tensor, Tensor | None], Assignment],
    est_targets: Tensor,
    targets: Tensor,
    ids: Tensor | None,
    lengths: list[int],
) -> Assignment:
    """Returns the assignment of padded items, each computed without its padding; figures are means over the items.

    Args:
        assign: assigns items of one length: estimates, sources, ids.
        est_targets: estimates.
        targets: sources.
        ids: ids of the items, or None.
        lengths: of the items.

    Shapes:
        est_targets: [B, J, T], or [K, B, J, T] for K layers; targets: [B, J, T]; ids: [B].
    """
    layers = est_targets.ndim - targets.ndim  # axes before the items
    groups = list(_groups(lengths, targets.device))
    parts = []
    for length, rows in groups:
        est = est_targets[..., :length].index_select(layers, rows)
        parts.append(assign(est, targets[rows, ..., :length], None if ids is None else ids[rows]))
    order = torch.argsort(torch.cat([rows for _, rows in groups]))
    loss, perm = torch.cat([part.loss for part in parts])[order], torch.cat([part.perm for part in parts], -2)
    shares = [len(rows) / len(lengths) for _, rows in groups]
    figures = {
        name: torch.stack([share * part.figures[name] for share, part in zip(shares, parts, strict=True)]).sum(0)
        for name in parts[0].figures
    }
    known = [part.neg_si_sdr for part in parts if part.neg_si_sdr is not None]
    neg_si_sdr = torch.cat(known)[order] if len(known) == len(parts) else None
    return Assignment(loss, perm.index_select(-2, order), figures, neg_si_sdr)
