"""Two tasks in one training: batches of separation and batches of enhancement, each of one kind."""

from __future__ import annotations

import hashlib

import numpy as np

from asteroid_stab.data.datamodule import MixtureDataModule
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.inner import inner
from asteroid_stab.data.sampler import EpochSampler, TaskSampler
from asteroid_stab.data.utterances import Utterances
from asteroid_stab.errors import StabError


class JoinedMixtures(MixtureDataset):
    """The mixtures of one set, then those of another one with one source; ids go on from the first to the second.

    Args:
        separation: the mixtures to separate.
        enhancement: mixtures of one source and noise.
    """

    tasks = ("separation", "enhancement")

    def __init__(self, separation: MixtureDataset, enhancement: MixtureDataset):
        self.separation, self.enhancement = separation, enhancement
        names = [*separation.names, *(f"enhancement: {name}" for name in enhancement.names)]
        lengths = [*separation.lengths, *enhancement.lengths]
        super().__init__(names, lengths, separation.n_src, separation.sample_rate, seed=separation.seed)
        self.stable_ids, self.classes = separation.stable_ids, separation.classes
        if separation.labels is not None:
            # An item of enhancement has no classes; it is never looked up, since no callback sees it.
            unused = np.zeros((len(enhancement), separation.n_src), separation.labels.dtype)
            self.labels = np.concatenate([separation.labels, unused])
        self.n_short = separation.n_short + enhancement.n_short

    @property
    def fingerprint(self) -> str:
        """That of both sets."""
        return hashlib.sha256(f"{self.separation.fingerprint} {self.enhancement.fingerprint}".encode()).hexdigest()[:16]

    def audio(self, epoch: int, item: int) -> tuple[np.ndarray, np.ndarray]:
        """Mixture ``[T]`` and sources ``[J, T]``, or ``[1, T]``, that item ``item`` gives in epoch ``epoch``."""
        n_first = len(self.separation)
        if item < n_first:
            return self.separation.audio(epoch, item)
        return self.enhancement.audio(epoch, item - n_first)

    def read(self, row: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """A part of what the row is in epoch 0."""
        mixture, sources = self.audio(0, row)
        return mixture[start:stop], sources[:, start:stop]


class MultiTaskData(MixtureDataModule):
    """A corpus to separate and one of single sources with noise, trained on together; judged by the first alone.

    An epoch has as many batches of the first as a training on it alone, in the same order, and all full batches of the
    second between them.

    Args:
        base: the corpus to separate.
        enhancement: the corpus with one source.
        n_src: sources in a mixture to separate; the same as the corpus'.
        sample_rate: in Hz; the same as both corpora's.
        segment_s: length of the crops for training and validation, in seconds.
        batch_size: items in a batch of one rank.
        num_workers: processes that load; 0 loads in the training process.
        seed: seed of order and crops.

    Raises:
        StabError: an argument is out of its range or differs from the corpora's; a set is smaller than a batch.

    References:
        The multi-task baseline of Huang et al., arXiv 2010.15366.
    """

    def __init__(
        self,
        base: MixtureDataModule,
        enhancement: MixtureDataModule,
        n_src: int = 2,
        sample_rate: int = 8000,
        segment_s: float = 3.0,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
    ):
        super().__init__(n_src, sample_rate, segment_s, batch_size, num_workers, seed)
        if n_src < 2:
            raise StabError(f"n_src must be at least 2 to tell separation from enhancement, got {n_src}")
        if base.n_src != n_src:
            raise StabError(f"n_src must be the corpus' own {base.n_src}, got {n_src}")
        if enhancement.n_src != 1:
            raise StabError(f"the corpus to enhance must have n_src=1, got {enhancement.n_src}")
        for name, corpus in (("base", base), ("enhancement", enhancement)):
            if corpus.sample_rate != sample_rate:
                raise StabError(f"sample_rate must be the {name} corpus' {corpus.sample_rate}, got {sample_rate}")
        self.base, self.enhancement = base, enhancement

    def prepare_data(self) -> None:
        """Whatever the corpora prepare."""
        with inner("base"):
            self.base.prepare_data()
        with inner("enhancement"):
            self.enhancement.prepare_data()

    def utterances(self, split: str) -> Utterances:
        """Those of the corpus to separate."""
        with inner("base"):
            return self.base.utterances(split)

    def dataset(self, split: str, segment_s: float | None) -> MixtureDataset:
        """For training in crops both sets, else the mixtures to separate."""
        with inner("base"):
            separation = self.base.dataset(split, segment_s)
        if split != "train" or segment_s is None:
            return separation
        with inner("enhancement"):
            return JoinedMixtures(separation, self.enhancement.dataset(split, segment_s))

    def _sampler(self, dataset: MixtureDataset, rank: int, world_size: int) -> TaskSampler:
        assert isinstance(dataset, JoinedMixtures)
        parts = {"separation": dataset.separation, "enhancement": dataset.enhancement}
        for name, part in parts.items():
            if len(part) < self.batch_size * world_size:  # its batches would never come
                raise StabError(
                    f"{name} must have at least one batch of batch_size={self.batch_size} on each of {world_size} "
                    f"process(es), got {len(part)} items"
                )
        samplers = [EpochSampler(len(part), self.batch_size, self.seed, rank, world_size) for part in parts.values()]
        return TaskSampler(samplers)
