"""Speech of any source with noise of any folder, mixed on the fly under stable ids."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asteroid_stab.data.corpora.sound_corpus import SoundCorpus, check_folds
from asteroid_stab.data.corpora.sound_mixtures import Place
from asteroid_stab.data.corpora.sounds import SPEECH, Sound, Sounds, find_esc, find_sounds
from asteroid_stab.data.corpus import SPLITS, check_folder, check_level
from asteroid_stab.data.utterances import Utterances, UtteranceSource
from asteroid_stab.errors import StabError, within

NOISE = "noise"
_WHAM = dict(zip(SPLITS, ("tr", "cv", "tt"), strict=True))
_PARTS = 10  # of a folder without splits: eight train, one validates, one tests


class SpeechAndNoise(Sounds):
    """Utterances, then recordings of noise, behind the interface of ``Sounds``.

    Args:
        utterances: the utterances, at ``sample_rate``.
        noise: the recordings of noise.
        sample_rate: in Hz.
        cache: folder for the recordings' packed copy.
    """

    def __init__(self, utterances: Utterances, noise: Sequence[Sound], sample_rate: int, cache: Path):
        super().__init__(noise, sample_rate, cache)
        self.utterances, self.n_spoken = utterances, len(utterances.names)
        spoken = zip(utterances.names, utterances.speakers, utterances.lengths, strict=True)
        speech = [Sound("", name, SPEECH, f"{SPEECH} {who}", n, sample_rate) for name, who, n in spoken]
        self.sounds = [*speech, *self.sounds]
        self.lengths = [*utterances.lengths, *self.lengths]

    def read(self, sound: int, start: int, stop: int) -> np.ndarray:
        if sound < self.n_spoken:
            return self.utterances.read(sound, start, stop)
        return super().read(sound - self.n_spoken, start, stop)


class NoisyCorpus(SoundCorpus):
    """``n_src`` speakers and a recording of noise; the noise is in the mixture and is no source.

    With one speaker it is Libri1Mix made on the fly: the task is speech enhancement. Utterances and noises of the
    splits stay apart. The mixtures are drawn once and have stable ids; the crop of each recording is fresh in each
    epoch. Noise is a folder with a folder for each split (``noise_subsets``; WHAM!'s ``tr``, ``cv`` and ``tt`` if it
    has them all), ESC-50 (its folds), or any folder of ``.wav``, ``.flac`` or ``.ogg``, of whose files eight tenths
    train. The sample rate is the speech's.

    Args:
        base: the speech: folders of it, or a corpus with single utterances, whose own mixtures are not used.
        noise_root: folder of noise.
        noise_subsets: folders in it for training, validation and testing.
        noise_folds: folds of each split, if the noise is ESC-50.
        n_src: speakers in a mixture.
        corpus_seed: seed of the mixtures. Runs that differ in their own seed share them.
        n_train: mixtures to train on.
        n_valid: mixtures to validate with.
        n_test: mixtures to test with.
        level_db: every speaker but the first is up to this louder or softer than the first, in dB.
        low_snr_db: least level of the first speaker over the noise, in dB.
        high_snr_db: largest level of the first speaker over the noise, in dB.
        cache_dir: folder of the decoded noise; None: ``ASTEROID_STAB_CACHE``, else the user's cache folder.
        each_once: use each utterance once before one comes again, as LibriMix does; for one speaker. Otherwise speaker
            and utterance are drawn, so that utterances of a speaker who has few come more often.

    Raises:
        ValueError: an argument is out of its range, or ``each_once`` is set for several speakers.

    References:
        The enhancement of Huang et al., arXiv 2010.15366, has Libri1Mix's mixtures of LibriSpeech and WHAM!. Levels
        uniform in dB are our reading; LibriMix draws loudness.
    """

    def __init__(
        self,
        base: UtteranceSource,
        noise_root: str | None = None,
        noise_subsets: Sequence[str] | None = None,
        noise_folds: Sequence[Sequence[int]] = ((1, 2, 3), (4,), (5,)),
        n_src: int = 1,
        corpus_seed: int = 0,
        n_train: int = 5000,
        n_valid: int = 300,
        n_test: int = 300,
        level_db: float = 2.5,
        low_snr_db: float = 0.0,
        high_snr_db: float = 10.0,
        cache_dir: str | None = None,
        each_once: bool = False,
    ):
        if each_once and n_src != 1:
            raise ValueError(
                f"each_once must have one speaker in a mixture (n_src=1), got n_src={n_src}: lists made by "
                "'asteroid-stab prepare' use each utterance once"
            )
        super().__init__(n_src, base.sample_rate, corpus_seed, n_train, n_valid, n_test, cache_dir)
        if noise_subsets is not None and len(noise_subsets) != len(SPLITS):
            raise ValueError(f"noise_subsets must be given for {', '.join(SPLITS)}, got {list(noise_subsets)}")
        if not (math.isfinite(low_snr_db) and low_snr_db <= high_snr_db < math.inf):
            raise ValueError(f"low_snr_db must be at most high_snr_db, got {low_snr_db} and {high_snr_db}")
        self.base, self.noise_root = base, noise_root
        self.noise_subsets = None if noise_subsets is None else dict(zip(SPLITS, noise_subsets, strict=True))
        self.noise_folds = check_folds(noise_folds)
        self.each_once = each_once
        self.level_db, self.snr_db = check_level("level_db", level_db), (low_snr_db, high_snr_db)

    def prepare(self, splits: Sequence[str]) -> None:
        """Makes the files of the speech, and decodes the noise."""
        with within("base"):
            self.base.prepare(splits)
        super().prepare(splits)

    def found(self, split: str) -> list[Sound]:
        """Finds the recordings of noise of a split.

        Raises:
            StabError: there are none.
        """
        root = check_folder("noise_root", self.noise_root, "the folder of noise")
        subsets = self.noise_subsets
        if subsets is None and all(Path(root, part).is_dir() for part in _WHAM.values()):
            subsets = _WHAM
        if subsets is not None:
            return find_sounds(root, NOISE, subsets[split])
        if (Path(root) / "meta" / "esc50.csv").is_file():
            return find_esc(root, self.noise_folds[split])
        parts = {"train": range(_PARTS - 2), "valid": [_PARTS - 2], "test": [_PARTS - 1]}[split]
        found = [sound for sound in find_sounds(root, NOISE) if _part(sound.name) in parts]
        if not found:
            raise StabError(
                f"{root} has too few recordings to hold some out for {split}; set {{argument}}=[TRAIN,VALID,TEST] to "
                "folders in it",
                "noise_subsets",
            )
        return found

    def _decode(self, split: str, cache: Path) -> Sounds:
        with within("base"):
            speech = self.base.utterances(split)
        return SpeechAndNoise(speech, self.found(split), self.sample_rate, cache)

    def places(self, sounds: Sounds) -> list[Place]:
        """Puts the first speaker at 0 dB, the others around it, and the noise below by the SNR."""
        kinds = [i for i, sound in enumerate(sounds.sounds) if sound.kind == SPEECH]
        noise = [list(range(len(kinds), len(sounds)))]
        low, high = self.snr_db
        others = [Place([kinds], -self.level_db, self.level_db)] * (self.n_src - 1)
        return [Place([kinds], each_once=self.each_once), *others, Place(noise, -high, -low)]

    def classes_of(self, sounds: Sounds) -> tuple[list[str], list[int]]:
        """Returns no classes: all sources are speech."""
        return [], []


def _part(name: str) -> int:
    """Number from 0 to 9 that depends on the file's name alone, so that adding files moves none between splits."""
    return hashlib.sha256(name.encode()).digest()[0] * _PARTS // 256
