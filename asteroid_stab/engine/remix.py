"""Online augmentation: new mixtures from the sources of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from asteroid_stab.losses.lengths import Lengths, check_lengths
from asteroid_stab.transfer import send

_SILENT = 1e-12  # energy; below, a source has no level to be brought to


def remix(
    sources: Tensor, generator: torch.Generator | None = None, lengths: Lengths | None = None
) -> tuple[Tensor, Tensor, list[int] | None]:
    """Mixes sources drawn from a batch, each at the level of the source whose place it takes.

    Each place (first speaker, second, noise) is permuted over the batch by itself, so that levels keep their
    distribution. A source takes its place's level unless one of the two is silent. A mixture and its sources are then
    scaled together to the RMS that the mixture of that row had. Levels are of the true parts; a mixture of padded
    sources is as long as its longest, and a shorter source is silent after its end.

    Args:
        sources: [B, S, T], noise included.
        generator: of the draw, on the CPU; None is torch's global one.
        lengths: samples of each item that are no padding; None: no item is padded.

    Returns:
        Mixtures [B, T], their sources [B, S, T], and the lengths of the mixtures (None where no item was padded).

    Example:
        >>> sources = torch.randn(4, 3, 100)
        >>> mixture, mixed, _ = remix(sources)
        >>> before, after = (signal.square().mean(-1) for signal in (sources.sum(1), mixture))
        >>> torch.allclose(mixture, mixed.sum(1)), torch.allclose(before, after)
        (True, True)

    References:
        Bralios et al., arXiv 2211.11917, section 3.3, name it; the permutation by place, the levels and the scaling
        follow the training of the improved SuDoRM-RF (Tzinis et al., Journal of Signal Processing Systems 94, 2022,
        arXiv 2103.02644), except that the mixture keeps its level (there it has unit variance).
    """
    n_items, n_places, n_samples = sources.shape
    orders = torch.stack([torch.randperm(n_items, generator=generator) for _ in range(n_places)], 1)
    each = check_lengths(lengths, n_items, n_samples)
    own_part = mixed_part = sources.new_ones(())  # share of an item that is no padding: before, and of its mixture
    drawn_part = own_part
    mixed_lengths = None
    if each is not None:
        of_items = torch.tensor(each)
        longest = of_items[orders].amax(1)
        mixed_lengths = longest.tolist()
        own_part, drawn_part, mixed_part = (
            send((n / n_samples).to(sources.dtype), sources.device)
            for n in (of_items[:, None], of_items[orders], longest)
        )
    orders = send(orders, sources.device)
    drawn = sources[orders, torch.arange(n_places, device=sources.device)]
    wanted = (sources.square().mean(-1) / own_part).unsqueeze(-1)
    own = (drawn.square().mean(-1) / drawn_part).unsqueeze(-1)
    gain = torch.where((wanted > _SILENT) & (own > _SILENT), (wanted / own.clamp_min(_SILENT)).sqrt(), 1.0)
    mixed = drawn * gain
    before = sources.sum(1).square().mean(-1) / own_part.view(-1)
    after = mixed.sum(1).square().mean(-1) / mixed_part
    gain = torch.where((before > _SILENT) & (after > _SILENT), (before / after.clamp_min(_SILENT)).sqrt(), 1.0)
    mixed = mixed * gain.view(-1, 1, 1)
    return mixed.sum(1), mixed, mixed_lengths
