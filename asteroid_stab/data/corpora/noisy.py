"""Speech of any corpus with noise of any folder, mixed on the fly under stable ids."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asteroid_stab.data.corpora.sound_data import SoundData, check_folds
from asteroid_stab.data.corpora.sound_mixtures import Place
from asteroid_stab.data.corpora.sounds import SPEECH, Sound, Sounds, find_esc, find_sounds
from asteroid_stab.data.datamodule import SPLITS, MixtureDataModule, check_folder, check_level
from asteroid_stab.data.inner import inner
from asteroid_stab.data.utterances import Utterances
from asteroid_stab.errors import StabError

NOISE = "noise"
_WHAM = dict(zip(SPLITS, ("tr", "cv", "tt"), strict=True))
_PARTS = 10  # of a folder without splits: eight train, one validates, one tests


class SpeechAndNoise(Sounds):
    """The utterances of a corpus, then recordings of noise, behind the interface of ``Sounds``.

    Args:
        utterances: of the corpus, at ``sample_rate``.
        noise: the recordings.
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
        """See the base."""
        if sound < self.n_spoken:
            return self.utterances.read(sound, start, stop)
        return super().read(sound - self.n_spoken, start, stop)


class NoisyData(SoundData):
    """``n_src`` speakers of a corpus and a recording of noise; the noise is in the mixture, and no source.

    With one speaker it is Libri1Mix made on the fly: the task is speech enhancement. Utterances and noises of the
    corpus' splits stay apart. The mixtures are drawn once and have stable ids; what is cut from each recording is fresh
    in each epoch. Noise is a folder with a folder for each split (``noise_subsets``; WHAM!'s ``tr``, ``cv`` and ``tt``
    if it has them all), ESC-50 (its folds), or any folder of ``.wav``, ``.flac`` or ``.ogg``, of whose files eight
    tenths train.

    Args:
        base: the corpus of speech; it must implement ``utterances``. Its own mixtures are not used.
        noise_root: folder of noise.
        noise_subsets: folders in it for training, validation and testing.
        noise_folds: where it is ESC-50, the folds of each split.
        n_src: speakers in a mixture.
        sample_rate: in Hz; the same as the corpus'.
        segment_s: length of the crops for training and validation, in seconds; mixtures with shorter recordings are
            left out of these, and counted in the log.
        batch_size: items in a batch of one rank.
        num_workers: processes that load; 0 loads in the training process.
        seed: seed of the run: order and crops.
        corpus_seed: seed of the mixtures. Runs that differ in ``seed`` share them.
        n_train: mixtures to train on.
        n_valid: mixtures to validate with.
        n_test: mixtures to test with.
        level_db: every speaker but the first is up to this louder or softer than the first, in dB.
        low_snr_db: least level of the first speaker over the noise, in dB.
        high_snr_db: largest.
        cache_dir: where decoded noise is kept; None: ``ASTEROID_STAB_CACHE``, else the user's cache folder.

    Raises:
        StabError: an argument is out of its range, or differs from the corpus'; there is no noise, or none as long as
            a segment.

    References:
        The enhancement of Huang et al., arXiv 2010.15366, has Libri1Mix's mixtures of LibriSpeech and WHAM!. Levels
        uniform in dB are our reading; LibriMix draws loudness.
    """

    def __init__(
        self,
        base: MixtureDataModule,
        noise_root: str | None = None,
        noise_subsets: Sequence[str] | None = None,
        noise_folds: Sequence[Sequence[int]] = ((1, 2, 3), (4,), (5,)),
        n_src: int = 1,
        sample_rate: int = 8000,
        segment_s: float = 3.0,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
        corpus_seed: int = 0,
        n_train: int = 5000,
        n_valid: int = 300,
        n_test: int = 300,
        level_db: float = 2.5,
        low_snr_db: float = 0.0,
        high_snr_db: float = 10.0,
        cache_dir: str | None = None,
    ):
        super().__init__(
            n_src, sample_rate, segment_s, batch_size, num_workers, seed, corpus_seed, (n_train, n_valid, n_test),
            cache_dir,
        )  # fmt: skip
        if base.sample_rate != sample_rate:
            raise StabError(f"sample_rate must be the corpus' own {base.sample_rate}, got {sample_rate}")
        if noise_subsets is not None and len(noise_subsets) != len(SPLITS):
            raise StabError(f"noise_subsets must be of {', '.join(SPLITS)}, got {list(noise_subsets)}")
        if not (math.isfinite(low_snr_db) and low_snr_db <= high_snr_db < math.inf):
            raise StabError(f"low_snr_db must be at most high_snr_db, got {low_snr_db} and {high_snr_db}")
        self.base, self.noise_root = base, noise_root
        self.noise_subsets = None if noise_subsets is None else dict(zip(SPLITS, noise_subsets, strict=True))
        self.noise_folds = check_folds(noise_folds)
        self.level_db, self.snr_db = check_level("level_db", level_db), (low_snr_db, high_snr_db)

    def prepare_data(self) -> None:
        """Whatever the corpus prepares, and the decoded noise."""
        with inner("base"):
            self.base.prepare_data()
        super().prepare_data()

    def found(self, split: str) -> list[Sound]:
        """The recordings of noise of a split.

        Raises:
            StabError: there are none.
        """
        root = check_folder("noise_root", self.noise_root, "the noise")
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
            raise StabError(f"{root} has too few recordings to hold some out for {split}: set data.noise_subsets")
        return found

    def _decode(self, split: str, cache: Path) -> Sounds:
        with inner("base"):
            speech = self.base.utterances(split)
        return SpeechAndNoise(speech, self.found(split), self.sample_rate, cache)

    def places(self, sounds: Sounds) -> list[Place]:
        """The first speaker is at 0 dB, the others around it, the noise below by the SNR."""
        kinds = [i for i, sound in enumerate(sounds.sounds) if sound.kind == SPEECH]
        noise = [list(range(len(kinds), len(sounds)))]
        low, high = self.snr_db
        others = [Place([kinds], -self.level_db, self.level_db)] * (self.n_src - 1)
        return [Place([kinds]), *others, Place(noise, -high, -low)]

    def classes_of(self, sounds: Sounds) -> tuple[list[str], list[int]]:
        """None: all sources are speech."""
        return [], []


def _part(name: str) -> int:
    """A number from 0 to 9 that depends on the file's name alone, so that adding files moves none between splits."""
    return hashlib.sha256(name.encode()).digest()[0] * _PARTS // 256
