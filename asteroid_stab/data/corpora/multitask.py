"""Two tasks in one training: batches of separation and batches of enhancement, each of one kind."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from asteroid_stab.data.corpus import Corpus
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.padding import PaddedMixtures
from asteroid_stab.data.sampler import EpochSampler, TaskSampler
from asteroid_stab.data.utterances import Utterances
from asteroid_stab.errors import StabError, within
from asteroid_stab.microphones import check_same


class JoinedMixtures(MixtureDataset):
    """The mixtures of a set to separate, then the mixtures of a set with one source; ids go on from set to set.

    Args:
        separation: the mixtures to separate.
        enhancement: mixtures of one source and noise.

    Raises:
        StabError: the two have different numbers of microphones.
    """

    tasks = ("separation", "enhancement")

    def __init__(self, separation: MixtureDataset, enhancement: MixtureDataset):
        self.separation, self.enhancement = separation, enhancement
        self.n_mics = check_same({"separation": separation.n_mics, "enhancement": enhancement.n_mics})
        names = [*separation.names, *(f"enhancement: {name}" for name in enhancement.names)]
        lengths = [*separation.lengths, *enhancement.lengths]
        super().__init__(names, lengths, separation.n_src, separation.sample_rate, seed=separation.seed)
        self.stable_ids, self.classes = separation.stable_ids, separation.classes
        if separation.labels is not None:
            # An item of enhancement has no classes, and its row is never read, since no callback sees the item.
            unused = np.zeros((len(enhancement), separation.n_src), separation.labels.dtype)
            self.labels = np.concatenate([separation.labels, unused])
        self.n_short = separation.n_short + enhancement.n_short

    @property
    def fingerprint(self) -> str:
        """Digest of the fingerprints of both sets."""
        return hashlib.sha256(f"{self.separation.fingerprint} {self.enhancement.fingerprint}".encode()).hexdigest()[:16]

    def audio(self, epoch: int, item: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns mixture ``[T]`` and sources ``[J, T]``, or ``[1, T]``, that ``item`` gives in epoch ``epoch``."""
        n_first = len(self.separation)
        if item < n_first:
            return self.separation.audio(epoch, item)
        return self.enhancement.audio(epoch, item - n_first)

    def read(self, row: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads a part of the row's mixture of epoch 0."""
        mixture, sources = self.audio(0, row)
        return mixture[..., start:stop], sources[:, start:stop]

    def sampler(self, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> TaskSampler:
        """Returns the order of a training in batches of one task each.

        Raises:
            StabError: a set is smaller than a batch on every process: its batches would never come.
        """
        parts = {"separation": self.separation, "enhancement": self.enhancement}
        for name, part in parts.items():
            if len(part) < batch_size * world_size:
                raise StabError(
                    f"{name} must have at least one batch of batch_size={batch_size} on each of {world_size} "
                    f"process(es), got {len(part)} items"
                )
        return TaskSampler([EpochSampler(len(part), batch_size, seed, rank, world_size) for part in parts.values()])


class MultiTaskCorpus(Corpus):
    """A corpus to separate and one of single sources with noise, trained on together; validated on the first alone.

    An epoch has the same separation batches, in the same order, as a training on separation alone, and all full
    batches of enhancement between them. Number of sources and sample rate come from the corpus to separate.

    Args:
        base: the corpus to separate.
        enhancement: the corpus with one source.

    Raises:
        ValueError: the corpora do not fit each other.

    References:
        The multi-task baseline of Huang et al., arXiv 2010.15366.
    """

    tasks = ("separation", "enhancement")

    def __init__(self, base: Corpus, enhancement: Corpus):
        super().__init__(base.n_src, base.sample_rate)
        if base.n_src < 2:
            raise ValueError(f"base must have at least 2 sources, since enhancement has 1, got n_src={base.n_src}")
        if enhancement.n_src != 1:
            raise ValueError(f"enhancement must have n_src=1, got {enhancement.n_src}")
        if enhancement.sample_rate != base.sample_rate:
            raise ValueError(
                f"enhancement must have the sample_rate of base, {base.sample_rate}, got {enhancement.sample_rate}"
            )
        self.base, self.enhancement, self.references = base, enhancement, base.references
        self.whole_sources = base.whole_sources and enhancement.whole_sources

    def prepare(self, splits: Sequence[str]) -> None:
        """Makes the files of the corpus to separate, and of enhancement where they are to train on."""
        with within("base"):
            self.base.prepare(splits)
        with within("enhancement"):
            self.enhancement.prepare([split for split in splits if split == "train"])

    def utterances(self, split: str) -> Utterances:
        """Returns the utterances of the corpus to separate."""
        with within("base"):
            return self.base.utterances(split)

    def dataset(self, split: str, segment_s: float | None = None, seed: int = 0) -> MixtureDataset:
        """Builds the set of both tasks for training in crops, else the set of mixtures to separate."""
        with within("base"):
            separation = self.base.dataset(split, segment_s, seed)
        if split != "train" or segment_s is None:
            return separation
        with within("enhancement"):
            return JoinedMixtures(separation, self.enhancement.dataset(split, segment_s, seed))

    def padded_dataset(self, split: str, segment_s: float, seed: int = 0) -> PaddedMixtures:
        """Raises: the multi-task paper leaves short mixtures out, and its joined sets have no whole ones."""
        raise StabError(
            "data=multitask cannot pad short mixtures: set loader.pad_short=false, which leaves them out as the "
            "paper does"
        )
