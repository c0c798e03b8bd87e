"""Online augmentation: new mixtures from the sources of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

_SILENT = 1e-12  # energy; below, a source has no level to be brought to


def remix(sources: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Mixes sources drawn from a batch, each at the level of the source whose place it takes.

    Each place (first speaker, second, noise) is permuted over the batch by itself, so that levels keep their
    distribution. A source takes its place's level unless one of the two is silent. A mixture and its sources are then
    scaled together to the RMS that the mixture of that row had.

    Args:
        sources: [B, S, T], noise included.
        generator: of the draw, on the CPU; None is torch's global one.

    Returns:
        Mixtures [B, T] and their sources [B, S, T].

    Example:
        >>> sources = torch.randn(4, 3, 100)
        >>> mixture, mixed = remix(sources)
        >>> before, after = (signal.square().mean(-1) for signal in (sources.sum(1), mixture))
        >>> torch.allclose(mixture, mixed.sum(1)), torch.allclose(before, after)
        (True, True)

    References:
        Bralios et al., arXiv 2211.11917, section 3.3, name it; the permutation by place, the levels and the scaling
        are those of the improved SuDoRM-RF's training, but that the mixture keeps its level (there it has unit
        variance).
    """
    n_items, n_places, _ = sources.shape
    orders = torch.stack([torch.randperm(n_items, generator=generator) for _ in range(n_places)], 1).to(sources.device)
    places = torch.arange(n_places, device=sources.device)
    drawn = sources[orders, places]
    wanted, own = sources.square().mean(-1, keepdim=True), drawn.square().mean(-1, keepdim=True)
    gain = torch.where((wanted > _SILENT) & (own > _SILENT), (wanted / own.clamp_min(_SILENT)).sqrt(), 1.0)
    mixed = drawn * gain
    before, after = sources.sum(1).square().mean(-1), mixed.sum(1).square().mean(-1)
    gain = torch.where((before > _SILENT) & (after > _SILENT), (before / after.clamp_min(_SILENT)).sqrt(), 1.0)
    mixed = mixed * gain.view(-1, 1, 1)
    return mixed.sum(1), mixed
