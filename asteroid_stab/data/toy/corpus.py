"""The embedded corpus: mixtures of sentences that eSpeak NG speaks in 110 voices."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from asteroid_stab.data.corpus import SPLITS, Corpus, check_count, check_counts, check_split
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.toy.speech import ToySpeech, toy_speech
from asteroid_stab.data.toy.voices import N_HELD_OUT, kind

LEVEL_DB = 2.5
"""Largest gain of a source relative to the common level, either way."""
_PEAK = 0.95  # of a mixture, at most

MOST_UTTERANCES = 10_000
"""Largest number of sentences of a speaker: 110 speakers say a million in hours."""


class Mixture(NamedTuple):
    """Which utterances make a mixture, and their gains (factors)."""

    utterances: list[int]
    gains: np.ndarray


class ToyDataset(MixtureDataset):
    """Fixed mixtures of the utterances of one split; every source is another speaker.

    A mixture is as long as its shortest utterance and is exactly the sum of its sources.

    Args:
        speech: the utterances.
        mixtures: the utterances and gains of each mixture; see :func:`draw_mixtures`.
        n_src: sources in a mixture.
        sample_rate: in Hz.
        segment_s: length of a crop, in seconds; None gives whole mixtures.
        seed: seed of the crops.
    """

    def __init__(
        self,
        speech: ToySpeech,
        mixtures: list[Mixture],
        n_src: int,
        sample_rate: int,
        segment_s: float | None,
        seed: int,
    ):
        names = [
            "_".join([f"{i:05d}", *(speech.names[utterance] for utterance in mixture.utterances)])
            for i, mixture in enumerate(mixtures)
        ]
        lengths = [min(speech.lengths[utterance] for utterance in mixture.utterances) for mixture in mixtures]
        super().__init__(names, lengths, n_src, sample_rate, segment_s, seed)
        self.speech, self.mixtures = speech, mixtures

    @property
    def fingerprint(self) -> str:
        """Digest of what the ids stand for: names and the speech itself."""
        return hashlib.sha256(f"{super().fingerprint} {self.speech.digest}".encode()).hexdigest()[:16]

    def read(self, row: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        mixture = self.mixtures[row]
        sources = np.stack([self.speech.read(utterance, start, stop) for utterance in mixture.utterances])
        sources *= mixture.gains[:, None]
        return sources.sum(0), sources


def draw_mixtures(
    speech: ToySpeech, n_mixtures: int, n_src: int, seed: tuple[int, ...], distinct: bool = True
) -> list[Mixture]:
    """Draws mixtures of different speakers. Number i depends on the seed and i alone, not on their number.

    Args:
        speech: the utterances.
        n_mixtures: number of mixtures.
        n_src: sources in each.
        seed: of the draw.
        distinct: take the speakers of a mixture from as many kinds as there are (see
            :func:`~asteroid_stab.data.toy.voices.kind`), in any order; otherwise any speakers.
    """
    by_speaker: dict[str, list[int]] = defaultdict(list)
    for utterance, speaker in enumerate(speech.speakers):
        by_speaker[speaker].append(utterance)
    spoken, kinds = list(by_speaker.values()), [kind(speaker) for speaker in by_speaker]
    mixtures = []
    for i in range(n_mixtures):
        generator = np.random.default_rng((*seed, n_src, i))
        speakers = generator.permutation(len(spoken))
        if distinct:
            speakers = generator.permutation(_in_rounds(speakers, kinds, generator)[:n_src])
        utterances = [int(generator.choice(spoken[speaker])) for speaker in speakers[:n_src]]
        gains = 10 ** (generator.uniform(-LEVEL_DB, LEVEL_DB, n_src) / 20)
        loudest = sum(gain * speech.peaks[one] for gain, one in zip(gains, utterances, strict=True))
        gains *= min(1.0, _PEAK / loudest)
        mixtures.append(Mixture(utterances, gains.astype(np.float32)))
    return mixtures


def _in_rounds(speakers: np.ndarray, kinds: list[str], generator: np.random.Generator) -> list[int]:
    """Orders the speakers so that each kind comes once, in any order, before one comes again."""
    turn: dict[str, int] = dict.fromkeys(generator.permutation(sorted(set(kinds))).tolist(), 0)
    place = {one: j for j, one in enumerate(turn)}
    keys = {}
    for speaker in speakers.tolist():
        keys[speaker] = (turn[kinds[speaker]], place[kinds[speaker]])
        turn[kinds[speaker]] += 1
    return sorted(keys, key=keys.__getitem__)


class ToyCorpus(Corpus):
    """Mixtures of spoken sentences, made on this machine in seconds: nothing to download.

    70 speakers to train on and 20 others each to validate and to test with; see
    :func:`~asteroid_stab.data.toy.voices.cast`. The first use makes the utterances and keeps them in a cache.

    Args:
        n_src: sources in a mixture, 1 to 20.
        sample_rate: in Hz, up to 192,000.
        corpus_seed: seed of the corpus: voices, sentences, mixtures. Runs that differ in their own seed share it.
        n_train: mixtures to train on.
        n_valid: mixtures to validate with.
        n_test: mixtures to test with.
        n_utterances: sentences that every speaker says, 1 to 10,000.
        distinct_voices: mix speakers of different sex or character as far as there are any; otherwise any speakers,
            who may be much alike and hard to separate.
        cache_dir: folder of the utterances; None: ``ASTEROID_STAB_CACHE``, else the user's cache folder.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        n_src: int = 2,
        sample_rate: int = 8000,
        corpus_seed: int = 0,
        n_train: int = 2000,
        n_valid: int = 100,
        n_test: int = 100,
        n_utterances: int = 6,
        distinct_voices: bool = True,
        cache_dir: str | None = None,
    ):
        super().__init__(n_src, sample_rate)
        if n_src > N_HELD_OUT:
            raise ValueError(
                f"n_src must be at most {N_HELD_OUT}, the speakers of the toy corpus' valid and test sets, got {n_src}"
            )
        self.corpus_seed = check_count("corpus_seed", corpus_seed, 0)
        self.n_mixtures = check_counts(n_train, n_valid, n_test)
        self.n_utterances = check_count("n_utterances", n_utterances, 1, MOST_UTTERANCES)
        self.distinct_voices, self.cache_dir = distinct_voices, cache_dir
        self._speech: dict[str, ToySpeech] | None = None

    def prepare(self) -> None:
        """Makes the utterances, if they are not in the cache."""
        self.utterances("train")

    def utterances(self, split: str) -> ToySpeech:
        """Returns the sentences of a split's speakers.

        Raises:
            StabError: eSpeak NG is missing, or the cache cannot be written.
        """
        if self._speech is None:
            self._speech = toy_speech(self.corpus_seed, self.sample_rate, self.n_utterances, self.cache_dir)
        return self._speech[check_split(split)]

    def dataset(self, split: str, segment_s: float | None = None, seed: int = 0) -> ToyDataset:
        speech = self.utterances(split)
        draw = (self.corpus_seed, 2, SPLITS.index(split))
        mixtures = draw_mixtures(speech, self.n_mixtures[split], self.n_src, draw, self.distinct_voices)
        return ToyDataset(speech, mixtures, self.n_src, self.sample_rate, segment_s, seed)
