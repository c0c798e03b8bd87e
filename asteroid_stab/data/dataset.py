"""Mixtures with stable ids, and the crop that an item gives in an epoch."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from asteroid_stab.data.sampler import EpochSampler, Key, TaskSampler
from asteroid_stab.errors import StabError
from asteroid_stab.item_names import ItemNames


def crop_start(seed: int, epoch: int, item: int, length: int, segment: int) -> int:
    """Returns the first sample of the crop that item ``item`` gives in epoch ``epoch``.

    It is a pure function of its arguments, so a crop is the same for any number of workers and ranks, and after
    a resume.

    Args:
        seed: the run's seed.
        epoch: the epoch, from 0.
        item: the item's stable id.
        length: length of the item, in samples.
        segment: length of the crop, in samples; at most ``length``.

    Example:
        >>> crop_start(0, 3, 17, 24_000, 24_000)
        0
        >>> crop_start(0, 3, 17, 32_000, 24_000) == crop_start(0, 3, 17, 32_000, 24_000)
        True
    """
    if segment > length:
        raise ValueError(f"segment must be at most the item's length of {length} samples, got {segment}")
    # A digest, not a generator: a NumPy generator takes 40 times as long to make, a third of a cached item's time.
    digest = hashlib.blake2b(b"%d %d %d" % (seed, epoch, item), digest_size=8).digest()
    return int.from_bytes(digest, "big") * (length - segment + 1) >> 64


def _table(numbers: np.ndarray) -> array[int]:
    """Returns whole numbers in 4 bytes each, or 8 where one needs them; its entries are Python's integers."""
    code = "i" if numbers.max(initial=0) < 2**31 else "q"
    return array(code, numbers.astype(code).tobytes())


class MixtureDataset(Dataset[tuple[Tensor, Tensor, int]], ABC):
    """Mixtures and their sources under stable ids: item ``i`` is always the same mixture, in the same order.

    A subclass gives ``names`` and ``lengths`` to the constructor and implements :meth:`read`. The key of an item
    is ``(epoch, id)``, as :class:`~asteroid_stab.data.sampler.EpochSampler` yields it, or a bare ``id``, which
    means epoch 0.

    Args:
        names: name of every item; unique. The position is the item's id.
        lengths: length of every item, in samples at ``sample_rate``.
        n_src: sources in a mixture.
        sample_rate: in Hz.
        segment_s: length of a crop, in seconds; None gives whole mixtures.
        seed: seed of the crops.

    Items shorter than the segment are left out of the data set, as Asteroid does; ``n_short`` counts them.
    :class:`~asteroid_stab.data.padding.PaddedMixtures` keeps them.

    Attributes:
        stable_ids: False where an id stands for another mixture each time (dynamic mixing). Parts that
            remember items across epochs refuse such a data set.
        tasks: the tasks that a batch may be of.
        classes: names of the classes that sources have; empty where they have none.
        labels: class of every source of every item, ``[N, J]``, positions in ``classes``; None without classes.
        n_active: number of sources of every item that are not silent throughout, ``[N]``; None where all are active.
        n_mics: C, the number of microphones of a mixture, of which the first is the reference: sources are what it
            hears of them.

    Shapes:
        - an item: mixture ``[T]``, or ``[C, T]`` of several microphones, sources ``[J, T]``, both float32, and the id.

    Raises:
        StabError: no item is as long as the segment, or two items have one name; or (an item) the mixture has another
            shape, or a sample is not finite.
    """

    stable_ids: bool = True
    tasks: Sequence[str] = ("separation",)
    classes: Sequence[str] = ()
    labels: np.ndarray | None = None
    n_active: np.ndarray | None = None
    n_mics: int = 1

    def __init__(
        self,
        names: Iterable[str],
        lengths: Iterable[int],
        n_src: int,
        sample_rate: int,
        segment_s: float | None = None,
        seed: int = 0,
    ):
        self.n_src = n_src
        self.sample_rate = sample_rate
        self.seed = seed
        self.segment = None if segment_s is None else round(segment_s * sample_rate)
        names, found = ItemNames.of(names), np.fromiter(lengths, np.int64)
        if len(names) != len(found):
            raise ValueError(f"items must have a name and a length each, got {len(names)} names, {len(found)} lengths")
        if (twice := names.repeated()) is not None:
            raise StabError(f"item names must be unique, got {twice!r} twice")
        kept = found >= (0 if self.segment is None else self.segment)
        if not kept.any():
            longest = found.max(initial=0) / sample_rate
            raise StabError(
                f"no mixture is as long as segment_s={segment_s} ({len(names)} mixtures, the longest {longest:.2f} s)"
            )
        self.n_short = int((~kept).sum())
        # Tables of numbers: a list of Python's integers takes five times as much, in every worker.
        rows = np.flatnonzero(kept) if self.n_short else None
        self.rows: Sequence[int] = range(len(names)) if rows is None else _table(rows)  # positions in the corpus
        self.names = names if rows is None else ItemNames(names[i] for i in self.rows)
        self.lengths: Sequence[int] = _table(found if rows is None else found[rows])

    @abstractmethod
    def read(self, row: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads mixture ``[stop - start]`` and sources ``[J, stop - start]``, float32, of corpus row ``row``.

        The mixture of several microphones is ``[C, stop - start]``, the reference first.

        ``row`` counts all rows given to the constructor, short ones included.
        """

    def sampler(self, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> EpochSampler | TaskSampler:
        """Returns the order in which a training visits the items.

        Args:
            batch_size: items in a batch of one rank.
            seed: seed of the order.
            rank: this process.
            world_size: number of processes.

        Raises:
            StabError: there are fewer items than a batch on every process needs.
        """
        return EpochSampler(len(self), batch_size, seed, rank, world_size)

    @property
    def fingerprint(self) -> str:
        """Digest of what the ids stand for: number of sources, sample rate, and the names in their order."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return self.names.digest(f"{self.n_src} {self.sample_rate}\n".encode())

    def __len__(self) -> int:
        return len(self.names)

    def audio(self, epoch: int, item: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns mixture ``[T]`` or ``[C, T]`` and sources ``[J, T]`` that ``item`` gives in epoch ``epoch``."""
        length = self.lengths[item]
        start, stop = 0, length
        if self.segment is not None:
            start = crop_start(self.seed, epoch, item, length, self.segment)
            stop = start + self.segment
        return self.read(self.rows[item], start, stop)

    def __getitem__(self, key: int | Key) -> tuple[Tensor, Tensor, int]:
        epoch, item = key if isinstance(key, tuple) else (0, key)
        mixture, sources = self.audio(epoch, item)
        if mixture.shape[:-1] != (() if self.n_mics == 1 else (self.n_mics,)):
            wanted = "[T]" if self.n_mics == 1 else f"[{self.n_mics}, T]"
            raise StabError(
                f"a mixture must be {wanted}, as n_mics={self.n_mics} of its data set says, got {list(mixture.shape)} "
                f"in item {self.names[item]!r}"
            )
        if not (np.isfinite(mixture).all() and np.isfinite(sources).all()):
            raise StabError(f"audio must be finite, got NaN or infinite samples in item {self.names[item]!r}")
        return torch.from_numpy(mixture), torch.from_numpy(sources), item
