"""Dynamic mixing: each time an item is asked for, a fresh mixture of a corpus' single utterances."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np

from asteroid_stab.data.datamodule import MixtureDataModule, check_count, check_level
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.inner import inner
from asteroid_stab.data.utterances import Utterances
from asteroid_stab.errors import StabError

_PEAK = 0.95  # no mixture goes beyond


class DynamicDataset(MixtureDataset):
    """Mixtures of different speakers drawn from (seed, epoch, id): others in every epoch, yet reproducible.

    Utterances shorter than the segment are never drawn. Speakers are equally likely, and so are the
    utterances of one.

    Args:
        utterances: what to draw from.
        n_items: mixtures an epoch.
        n_src: sources in a mixture.
        sample_rate: in Hz.
        segment_s: length of a mixture, in seconds.
        level_db: largest gain of a source relative to its own level, either way.
        seed: seed of the draws.

    Raises:
        StabError: fewer speakers than ``n_src`` have an utterance as long as the segment.
    """

    stable_ids = False

    def __init__(
        self,
        utterances: Utterances,
        n_items: int,
        n_src: int,
        sample_rate: int,
        segment_s: float,
        level_db: float = 2.5,
        seed: int = 0,
    ):
        segment = round(segment_s * sample_rate)
        names = [f"draw-{i:06d}" for i in range(n_items)]
        super().__init__(names, [segment] * n_items, n_src, sample_rate, segment_s, seed)
        self.utterances, self.level_db = utterances, level_db
        by_speaker: dict[str, list[int]] = defaultdict(list)
        for utterance, length in enumerate(utterances.lengths):
            if length >= segment:
                by_speaker[utterances.speakers[utterance]].append(utterance)
        self.spoken = list(by_speaker.values())
        if n_src > len(self.spoken):
            raise StabError(
                f"n_src must be at most {len(self.spoken)}, the speakers who have an utterance "
                f"of segment_s={segment_s:g}, got {n_src}"
            )

    @property
    def fingerprint(self) -> str:
        """That of what is drawn from, and of the levels."""
        drawn = "\n".join(self.utterances.names)
        return hashlib.sha256(f"{super().fingerprint} {self.level_db}\n{drawn}".encode()).hexdigest()[:16]

    def audio(self, epoch: int, item: int) -> tuple[np.ndarray, np.ndarray]:
        """Mixture ``[T]`` and sources ``[J, T]`` of the draw of (seed, epoch, item)."""
        segment = self.lengths[item]
        generator = np.random.default_rng((self.seed, epoch, item))
        sources = np.empty((self.n_src, segment), np.float32)
        for source, speaker in enumerate(generator.choice(len(self.spoken), self.n_src, replace=False)):
            utterance = int(generator.choice(self.spoken[speaker]))
            start = int(generator.integers(self.utterances.lengths[utterance] - segment + 1))
            sources[source] = self.utterances.read(utterance, start, start + segment)
            sources[source] *= 10 ** (generator.uniform(-self.level_db, self.level_db) / 20)
            if not np.isfinite(sources[source]).all():
                name = self.utterances.names[utterance]
                raise StabError(f"audio must be finite, got NaN or infinite samples in utterance {name!r}")
        loudest = np.abs(sources.sum(0)).max()
        if loudest > _PEAK:
            sources *= _PEAK / loudest
        return sources.sum(0), sources

    def read(self, row: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """A part of what the row is in epoch 0."""
        mixture, sources = self.audio(0, row)
        return mixture[start:stop], sources[:, start:stop]


class DynamicData(MixtureDataModule):
    """A corpus' training speakers mixed afresh in every epoch; its validation and test sets as they are.

    An id stands for another mixture each time (``stable_ids`` is False), so whatever remembers items across
    epochs refuses this corpus.

    Args:
        base: the corpus; it must implement ``utterances``.
        n_src: sources in a mixture; the same as the corpus'.
        sample_rate: in Hz; the same as the corpus'.
        segment_s: length of training mixtures and of validation crops, in seconds.
        batch_size: items in a batch of one rank.
        num_workers: processes that load; 0 loads in the training process.
        seed: seed of the draws and of validation crops.
        n_train: mixtures an epoch.
        level_db: largest gain of a source relative to its own level, either way.

    Raises:
        StabError: an argument is out of its range, or differs from the corpus'.
    """

    def __init__(
        self,
        base: MixtureDataModule,
        n_src: int = 2,
        sample_rate: int = 8000,
        segment_s: float = 1.5,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
        n_train: int = 2000,
        level_db: float = 2.5,
    ):
        super().__init__(n_src, sample_rate, segment_s, batch_size, num_workers, seed)
        for name in ("n_src", "sample_rate"):
            if getattr(base, name) != getattr(self, name):
                raise StabError(f"{name} must be the corpus' own {getattr(base, name)}, got {getattr(self, name)}")
        self.base = base
        self.n_train = check_count("n_train", n_train, 1)
        self.level_db = check_level("level_db", level_db)

    def prepare_data(self) -> None:
        """Whatever the corpus prepares."""
        with inner("base"):
            self.base.prepare_data()

    def utterances(self, split: str) -> Utterances:
        """The corpus' own."""
        with inner("base"):
            return self.base.utterances(split)

    def dataset(self, split: str, segment_s: float | None) -> MixtureDataset:
        """For train mixtures drawn afresh, else the corpus' own set.

        Raises:
            StabError: whole mixtures of the training set, of which there are none.
        """
        if split != "train":
            with inner("base"):
                return self.base.dataset(split, segment_s)
        if segment_s is None:
            raise StabError("dynamic mixing has no whole training mixtures; evaluate on valid or test")
        return DynamicDataset(
            self.utterances(split),
            self.n_train,
            self.n_src,
            self.sample_rate,
            segment_s,
            self.level_db,
            self.seed,
        )
