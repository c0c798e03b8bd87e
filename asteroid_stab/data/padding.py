"""Short mixtures padded with zeros to the length of a crop, and how the true lengths reach a training step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.sampler import EpochSampler, Key, TaskSampler
from asteroid_stab.errors import StabError


class Batch(NamedTuple):
    """A batch as a training step takes it: ``Batch(*batch)`` of what a loader gives.

    Attributes:
        mixture: [B, T], or [B, C, T] of several microphones, the reference first.
        sources: [B, J, T].
        ids: [B]; None where the loader gives none.
        lengths: samples of each item that are no padding; None where no item is padded.
    """

    mixture: Tensor
    sources: Tensor
    ids: Tensor | None = None
    lengths: Sequence[int] | Tensor | None = None


def collate(items: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Returns a batch of padded items: mixture, sources and ids as tensors, the lengths as plain integers.

    Integers stay on the host, so that a step on a GPU reads them without waiting for it.
    """
    return [*default_collate([item[:3] for item in items]), [item[3] for item in items]]


class PaddedMixtures(MixtureDataset):
    """Crops of a set's mixtures, of which the short ones are whole, with zeros after them.

    An item has a fourth part, its length without the zeros. A mixture that is as long as the crop is cut as in the set
    itself, and if none is short, all have the same ids as there.

    Args:
        whole: the set, of whole mixtures (``segment_s=None``), which reads them by :meth:`MixtureDataset.read`.
        segment_s: length of a crop, in seconds.
        seed: seed of the crops.

    Attributes:
        full: length of a crop, in samples.
        n_padded: number of items shorter than the crop.

    Shapes:
        - an item: mixture ``[T]`` or ``[C, T]``, sources ``[J, T]``, both float32, the id, and the length.

    Raises:
        StabError: the set makes its own crops.
    """

    def __init__(self, whole: MixtureDataset, segment_s: float, seed: int = 0):
        if type(whole).audio is not MixtureDataset.audio:
            raise StabError(
                f"{type(whole).__name__} makes the crops itself and cannot pad short mixtures: set "
                "loader.pad_short=false, which leaves them out"
            )
        super().__init__(whole.names, whole.lengths, whole.n_src, whole.sample_rate, None, seed)
        self.whole = whole
        self.segment = self.full = round(segment_s * whole.sample_rate)
        self.classes, self.labels, self.n_active = whole.classes, whole.labels, whole.n_active
        self.stable_ids, self.tasks, self.n_mics = whole.stable_ids, whole.tasks, whole.n_mics
        self.n_padded = int((np.asarray(self.lengths) < self.full).sum())

    @property
    def fingerprint(self) -> str:
        """Digest of the set itself: padding changes no id."""
        return self.whole.fingerprint

    def sampler(self, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> EpochSampler | TaskSampler:
        """Returns the set's own order."""
        return self.whole.sampler(batch_size, seed, rank, world_size)

    def read(self, row: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        return self.whole.read(self.whole.rows[row], start, stop)

    def audio(self, epoch: int, item: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns mixture ``[..., T]`` and sources ``[J, T]`` of an item in an epoch; shorter than a crop if it is."""
        if self.lengths[item] < self.full:
            return self.read(item, 0, self.lengths[item])
        return super().audio(epoch, item)

    def __getitem__(self, key: int | Key) -> tuple[Tensor, Tensor, int, int]:  # type: ignore[override]
        mixture, sources, item = super().__getitem__(key)
        length = mixture.shape[-1]
        padding = (0, self.full - length)
        return torch.nn.functional.pad(mixture, padding), torch.nn.functional.pad(sources, padding), item, length
