"""The order in which items are visited: a pure function of seed, epoch and rank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import Sampler

from asteroid_stab.errors import StabError

Key = tuple[int, int]
"""Epoch and id of an item."""

_ORDER = 1  # keeps the draw of the tasks' order apart from the draws of their items


def epochs_done(trainer: pl.Trainer) -> int:
    """Returns the epochs whose batches are all done: the number of the epoch that starts next.

    Lightning's ``current_epoch`` is one less before a resumed training starts.
    """
    return trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]


class StartedWithin(Sampler[Key]):
    """Base of samplers with an ``epoch``, of which one may start with a later batch than its first."""

    epoch: Any
    _start = (0, 0)

    def start_at(self, epoch: int, batch: int) -> None:
        """Makes one epoch start with its batch number ``batch``, from 0; all other epochs are whole."""
        self._start = (epoch, batch)

    @property
    def first_batch(self) -> int:
        """The batch that the present epoch starts with."""
        return self._start[1] if self._start[0] == self.epoch else 0


class EpochSampler(StartedWithin):
    """Yields ``(epoch, id)`` for this rank: one permutation of all items an epoch, dealt out batch by batch.

    The permutation is cut into global batches of ``batch_size * world_size`` items, and rank r takes the r-th
    part of each, so that W ranks with batch B visit, step by step, the items that one rank with batch W·B visits. The
    weights then agree up to rounding, which Adam magnifies where gradients are small (``asteroid-stab bench ranks``
    measures by how much).
    The last, incomplete global batch is left out (all ranks must take the same number of steps, and no item may
    come twice).

    Lightning calls :meth:`set_epoch` at the start of every epoch. The epoch travels with the id, so that
    workers that were started in an earlier epoch still cut the crops of this one.

    Args:
        n_items: items in the data set.
        batch_size: items in a batch of one rank.
        seed: seed of the permutations.
        rank: this process.
        world_size: number of processes.

    Raises:
        StabError: there are fewer items than a global batch has.

    Example:
        >>> sampler = EpochSampler(n_items=6, batch_size=2, seed=0)
        >>> sampler.set_epoch(4)
        >>> keys = list(sampler)
        >>> {epoch for epoch, _ in keys}, sorted(item for _, item in keys)
        ({4}, [0, 1, 2, 3, 4, 5])
        >>> two = [EpochSampler(6, 1, seed=0, rank=r, world_size=2) for r in (0, 1)]
        >>> for rank in two:
        ...     rank.set_epoch(4)
        >>> [key for step in zip(*two) for key in step] == keys
        True
    """

    def __init__(self, n_items: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1):
        if n_items < batch_size * world_size:
            raise StabError(
                f"the training set must hold at least one batch of batch_size={batch_size} "
                f"on each of {world_size} process(es), got {n_items} items"
            )
        self.n_items, self.batch_size, self.seed = n_items, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch whose permutation is drawn next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n_items // (self.batch_size * self.world_size) * self.batch_size

    def __iter__(self) -> Iterator[Key]:
        epoch, first = self.epoch, self.first_batch  # a loader that fetches ahead may be here when the next is set
        # The permutation that a generator gives for a number, which is of 8 bytes an item, in 4.
        order = np.arange(self.n_items, dtype=np.uint32 if self.n_items <= 2**32 else np.int64)
        np.random.default_rng((self.seed, epoch)).shuffle(order)
        n_steps = len(self) // self.batch_size
        dealt = order[: n_steps * self.world_size * self.batch_size].reshape(n_steps, self.world_size, -1)
        for batch in dealt[first:, self.rank]:
            for item in batch.tolist():
                yield epoch, item


class TaskSampler(StartedWithin):
    """Deals out several sets batch by batch: every batch is of one set, and of the same set on all ranks.

    An epoch has each set's full batches in random order, so that the sets come in proportion to their sizes; the rest
    of each set is left out. A set's items come in the order in which they would come without the other sets.

    Args:
        parts: a sampler for each set, of the same batch size, seed, rank and number of processes.

    Example:
        >>> sampler = TaskSampler([EpochSampler(6, 2, seed=0), EpochSampler(3, 2, seed=0)])
        >>> items = [item for _, item in sampler]
        >>> [("both" if min(pair) < 6 <= max(pair) else "one") for pair in zip(items[::2], items[1::2])]
        ['one', 'one', 'one', 'one']
        >>> [item for item in items if item < 6] == [item for _, item in EpochSampler(6, 2, seed=0)]
        True

    References:
        Huang et al., arXiv 2010.15366, multi-task learning: batches of one task, in proportion to the sets.
    """

    def __init__(self, parts: Sequence[EpochSampler]):
        self.parts = list(parts)
        self.first = np.cumsum([0, *(part.n_items for part in self.parts)])  # id of each set's first item

    @property
    def epoch(self) -> int:
        """The epoch whose order is drawn next."""
        return self.parts[0].epoch

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch whose order is drawn next."""
        for part in self.parts:
            part.set_epoch(epoch)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __iter__(self) -> Iterator[Key]:
        return islice(self._whole(), self.first_batch * self.parts[0].batch_size, None)

    def _whole(self) -> Iterator[Key]:
        batch_size, seed, epoch = self.parts[0].batch_size, self.parts[0].seed, self.epoch
        n_batches = [len(part) // batch_size for part in self.parts]
        order = np.random.default_rng((seed, epoch, _ORDER)).permutation(np.repeat(range(len(n_batches)), n_batches))
        items = [iter(part) for part in self.parts]
        for task in order:
            for _ in range(batch_size):
                epoch, item = next(items[task])
                yield epoch, int(self.first[task]) + item


class StridedSampler(Sampler[Key]):
    """Yields ``(0, id)`` for the ids ``rank, rank + world_size, ...``: every item on one rank, no padding.

    Ranks may therefore differ by one item: a mean over a validation set must be weighted by the number of items.

    Args:
        n_items: items in the data set.
        rank: this process.
        world_size: number of processes.

    Example:
        >>> list(StridedSampler(5, rank=1, world_size=2))
        [(0, 1), (0, 3)]
    """

    def __init__(self, n_items: int, rank: int = 0, world_size: int = 1):
        if n_items < world_size:
            raise StabError(f"the validation set must hold an item for each of {world_size} processes, got {n_items}")
        self.items = range(rank, n_items, world_size)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Key]:
        return ((0, item) for item in self.items)
