"""Dynamic mixing: every item of every epoch is a fresh mixture of a corpus' single utterances."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from itertools import repeat

import numpy as np

from asteroid_stab.data.corpus import MOST_MIXTURES, Corpus, check_count, check_level
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.padding import PaddedMixtures
from asteroid_stab.data.utterances import Utterances
from asteroid_stab.errors import StabError, within

_PEAK = 0.95  # of a mixture, at most


class DynamicDataset(MixtureDataset):
    """Mixtures of different speakers drawn from (seed, epoch, id): fresh in every epoch, yet reproducible.

    Utterances shorter than the segment are never drawn. Speakers are equally likely, and so are the
    utterances of one speaker.

    Args:
        utterances: the utterances to draw from.
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
        names = (f"draw-{i:06d}" for i in range(n_items))
        super().__init__(names, repeat(segment, n_items), n_src, sample_rate, segment_s, seed)
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
        """Digest of the utterances that are drawn from, and of the levels."""
        drawn = "\n".join(self.utterances.names)
        return hashlib.sha256(f"{super().fingerprint} {self.level_db}\n{drawn}".encode()).hexdigest()[:16]

    def audio(self, epoch: int, item: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns mixture ``[T]`` and sources ``[J, T]`` of the draw of (seed, epoch, item)."""
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
        """Reads a part of the row's mixture of epoch 0."""
        mixture, sources = self.audio(0, row)
        return mixture[start:stop], sources[:, start:stop]


class DynamicCorpus(Corpus):
    """A corpus' training speakers in fresh mixtures in every epoch; its validation and test sets stay as they are.

    An id stands for another mixture each time (``stable_ids`` is False), so parts that remember items across epochs
    refuse this corpus. Number of sources and sample rate are the base's.

    Args:
        base: the corpus; it must have single utterances.
        n_train: mixtures an epoch.
        level_db: largest gain of a source relative to its own level, either way.

    Raises:
        ValueError: an argument is out of its range, or the base has no mixtures to validate with.
    """

    def __init__(self, base: Corpus, n_train: int = 2000, level_db: float = 2.5):
        if not isinstance(base, Corpus):
            raise ValueError(f"base must be a corpus, with mixtures to validate with, got {type(base).__name__}")
        super().__init__(base.n_src, base.sample_rate)
        self.base, self.references = base, base.references
        self.n_train = check_count("n_train", n_train, 1, MOST_MIXTURES)
        self.level_db = check_level("level_db", level_db)

    def prepare(self, splits: Sequence[str]) -> None:
        with within("base"):
            self.base.prepare(splits)

    def utterances(self, split: str) -> Utterances:
        """Returns the utterances of the base."""
        with within("base"):
            return self.base.utterances(split)

    def dataset(self, split: str, segment_s: float | None = None, seed: int = 0) -> MixtureDataset:
        """Builds fresh mixtures for train, and the base's own set for valid and test.

        Raises:
            StabError: whole mixtures of the training set are asked for, of which there are none; or the base raises.
        """
        if split != "train":
            with within("base"):
                return self.base.dataset(split, segment_s, seed)
        if segment_s is None:
            raise StabError("dynamic mixing has no whole training mixtures; evaluate on valid or test")
        utterances = self.utterances(split)
        return DynamicDataset(utterances, self.n_train, self.n_src, self.sample_rate, segment_s, self.level_db, seed)

    def padded_dataset(self, split: str, segment_s: float, seed: int = 0) -> PaddedMixtures:
        """Raises: utterances shorter than the segment are never drawn, so that no mixture is short."""
        raise StabError(
            "dynamic mixing draws no utterance shorter than loader.segment_s, so there is nothing to pad: set "
            "loader.pad_short=false"
        )
