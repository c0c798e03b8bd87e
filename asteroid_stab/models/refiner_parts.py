"""Parts of a refining network besides its layers: items of different lengths, and checks of sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.errors import StabError
from asteroid_stab.transfer import send

SIZES = ("n_src", "n_blocks", "n_sub_blocks", "n_filters", "kernel_size", "bn_chan", "upsampling_depth")


def check_sizes(args: Mapping[str, Any]) -> None:
    """Checks that a network can be built.

    Raises:
        StabError: names the argument that is out of its range.
    """
    for name in SIZES:
        if args[name] < 1:
            raise StabError(f"{name} must be at least 1, got {args[name]}")
    stride, kernel_size, sample_rate = args["stride"], args["kernel_size"], args["sample_rate"]
    if stride is not None and not 1 <= stride <= kernel_size:
        raise StabError(f"stride must be from 1 to kernel_size={kernel_size}, got {stride}")
    if not sample_rate > 0:
        raise StabError(f"sample_rate must be above 0, got {sample_rate}")
    if args["gate"] and args["snr_exit"]:
        raise StabError("gate and snr_exit are two ways to exit: one of them must be false")
    if args["exit_snri_db"] is not None and not args["snr_exit"]:
        raise StabError(f"exit_snri_db needs snr_exit=true, got exit_snri_db={args['exit_snri_db']}")
    if args["exit_snri_db"] is not None and not math.isfinite(args["exit_snri_db"]):
        raise StabError(f"exit_snri_db must be a number or null, got {args['exit_snri_db']}")
    if not 0 < args["exit_probability"] < 1:
        raise StabError(f"exit_probability must be between 0 and 1, got {args['exit_probability']}")
    if args["gate"] and round(args["gate_segment_s"] * sample_rate) < 1:
        raise StabError(
            f"gate_segment_s must be at least one sample, {1 / sample_rate:g} s, got {args['gate_segment_s']}"
        )


MOST_COUNTS = 1000
"""The most iterations of a block, and blocks: iterations have no weights, so that a file may state any number."""


def counts(n_iterations: int | Sequence[int], n_blocks: int, least: int) -> list[int]:
    """A number of iterations for each block.

    Args:
        n_iterations: one number for all blocks, or one for each.
        n_blocks: number of blocks.
        least: the smallest number allowed.

    Raises:
        StabError: there are more or fewer numbers than blocks, or one is no whole number, too small or beyond
            :data:`MOST_COUNTS`.

    Example:
        >>> counts(4, 3, least=1), counts([2, 0, 1], 3, least=0)
        ([4, 4, 4], [2, 0, 1])
    """
    if n_blocks > MOST_COUNTS:
        raise StabError(f"n_blocks must be at most {MOST_COUNTS}, got {n_blocks}")
    numbers = list(n_iterations) if isinstance(n_iterations, Sequence) else [n_iterations] * n_blocks
    if len(numbers) != n_blocks:
        raise StabError(f"n_iterations must be one number or {n_blocks} (n_blocks), got {len(numbers)}: {numbers}")
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise StabError(f"n_iterations must be whole numbers of at least {least}, got {number!r}")
        if number > MOST_COUNTS:
            raise StabError(f"n_iterations must be at most {MOST_COUNTS}, got {number}")
    return numbers


def by_length(
    run: Callable[[Tensor, Tensor | slice], tuple[Tensor, Tensor]],
    mixture: Tensor,
    lengths: Tensor | Sequence[int] | None,
) -> tuple[Tensor, Tensor]:
    """Runs every item at its own length; items of equal length run together.

    Args:
        run: maps mixtures ``[B, 1, T]`` and their rows in the batch to estimates ``[..., B, S, T]`` and a figure of
            each item ``[B]``.
        mixture: ``[B, 1, T]``, padded at the end.
        lengths: ``[B]``, samples without padding; None: there is no padding.

    Returns:
        Estimates, zero after an item's length, and the figures.

    Raises:
        StabError: there are more or fewer lengths than items, or one is not from 1 to T.
    """
    if lengths is None or not len(mixture):
        return run(mixture, slice(None))
    n_items, _, n_samples = mixture.shape
    each = torch.as_tensor(lengths).tolist()
    if not isinstance(each, list) or len(each) != n_items:
        raise StabError(f"lengths must be {n_items}, one for each item, got {each}")
    if not all(isinstance(length, int) and 1 <= length <= n_samples for length in each):
        raise StabError(f"lengths must be whole numbers from 1 to {n_samples}, the samples of the batch, got {each}")
    parts = {}
    for length in dict.fromkeys(each):
        rows = send([i for i, other in enumerate(each) if other == length], mixture.device)
        parts[length] = (rows, *run(mixture[rows, :, :length], rows))
    _, some, figure = next(iter(parts.values()))
    est = some.new_zeros(*some.shape[:-3], n_items, some.shape[-2], n_samples)
    figures = figure.new_zeros(n_items)
    for length, (rows, part, of_items) in parts.items():
        est[..., rows, :, :length] = part
        figures[rows] = of_items
    return est, figures
