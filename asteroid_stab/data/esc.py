"""Corpora with environmental sounds: ESC-50 against itself, and speech against it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from asteroid_stab.data.datamodule import SPLITS, MixtureDataModule, check_count, check_split
from asteroid_stab.data.list_maker import stream
from asteroid_stab.data.pairing import shuffle
from asteroid_stab.data.sound_mixtures import Place, SoundMixtures, draw_sound_mixtures
from asteroid_stab.data.sounds import SPEECH, Sound, Sounds, find_esc, find_speakers
from asteroid_stab.data.toy_speech import cache_folder
from asteroid_stab.errors import StabError

ENV = "env"


def _folder(key: str, folder: str | None, what: str) -> str:
    if folder is None:
        raise StabError(f"where {what} is must be said: set data.{key}=FOLDER")
    if not os.path.isdir(folder):
        raise StabError(f"{what} is not at {folder}: set data.{key}=FOLDER")
    return str(folder)


class EscData(MixtureDataModule):
    """Mixtures of ESC-50's recordings, of different classes, which are the sources' classes; see ``SoundMixtures``.

    The five folds of ESC-50 keep together what was cut from one original recording, so that splits made of folds
    share none.

    Args:
        root: ESC-50 or a corpus in its layout: ``meta/esc50.csv`` and ``audio/``.
        n_src: sources in a mixture.
        sample_rate: in Hz.
        segment_s: length of the crops for training and validation, in seconds; shorter recordings are left out.
        batch_size: items in a batch of one rank.
        num_workers: processes that load; 0 loads in the training process.
        seed: seed of the run: order and crops.
        corpus_seed: seed of the mixtures. Runs that differ in ``seed`` share them.
        n_train: mixtures to train on.
        n_valid: mixtures to validate with.
        n_test: mixtures to test with.
        train_folds: folds of ESC-50 to train on.
        valid_folds: folds to validate with.
        test_folds: folds to test with.
        classes: classes of ESC-50 to keep; None keeps all.
        level_db: every source but the last is up to this louder or softer than the last, in dB.
        cache_dir: where decoded recordings are kept; None: ``ASTEROID_STAB_CACHE``, else the user's cache folder.

    Raises:
        StabError: an argument is out of its range, or a fold is in two splits.

    References:
        Piczak, "ESC: dataset for environmental sound classification", ACM Multimedia 2015; mixed as in Tzinis et al.,
        ICASSP 2021.
    """

    def __init__(
        self,
        root: str | None = None,
        n_src: int = 2,
        sample_rate: int = 8000,
        segment_s: float = 4.0,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
        corpus_seed: int = 0,
        n_train: int = 20000,
        n_valid: int = 3000,
        n_test: int = 3000,
        train_folds: Sequence[int] = (1, 2, 3),
        valid_folds: Sequence[int] = (4,),
        test_folds: Sequence[int] = (5,),
        classes: Sequence[str] | None = None,
        level_db: float = 2.5,
        cache_dir: str | None = None,
    ):
        super().__init__(n_src, sample_rate, segment_s, batch_size, num_workers, seed)
        self.root, self.classes, self.cache_dir = root, None if classes is None else list(classes), cache_dir
        self.corpus_seed = check_count("corpus_seed", corpus_seed, 0)
        counts = zip(SPLITS, (n_train, n_valid, n_test), strict=True)
        self.n_mixtures = {split: check_count(f"n_{split}", count, 1) for split, count in counts}
        self.folds = dict(zip(SPLITS, (list(train_folds), list(valid_folds), list(test_folds)), strict=True))
        for split, folds in self.folds.items():
            if not folds:
                raise StabError(f"{split}_folds must name a fold, got none")
            for other in SPLITS[: SPLITS.index(split)]:
                if both := set(folds) & set(self.folds[other]):
                    raise StabError(f"{other}_folds and {split}_folds must have no fold in common, got {sorted(both)}")
        if not (math.isfinite(level_db) and level_db >= 0):
            raise StabError(f"level_db must be a number of dB from 0 on, got {level_db}")
        self.level_db = level_db
        self._sounds: dict[str, Sounds] = {}

    def found(self, split: str) -> list[Sound]:
        """All recordings of a split."""
        return find_esc(_folder("root", self.root, "ESC-50"), self.folds[split], self.classes)

    def sounds(self, split: str) -> Sounds:
        """The recordings of a split that are as long as a segment, decoded.

        Raises:
            StabError: there are none.
        """
        if check_split(split) not in self._sounds:
            found = self.found(split)
            long = [sound for sound in found if sound.n_frames >= self.segment_s * sound.sample_rate]
            if not long:
                longest = max((sound.n_frames / sound.sample_rate for sound in found), default=0.0)
                raise StabError(
                    f"no recording for {split} is as long as segment_s={self.segment_s:g} ({len(found)} recordings, "
                    f"the longest {longest:.2f} s)"
                )
            self._sounds[split] = Sounds(long, self.sample_rate, Path(cache_folder(self.cache_dir)))
        return self._sounds[split]

    def prepare_data(self) -> None:
        """Decodes the recordings for training and validation, if they are not in the cache."""
        for split in ("train", "valid"):
            self.sounds(split)

    def dataset(self, split: str, segment_s: float | None) -> SoundMixtures:
        """The mixtures of a split, in crops of ``segment_s`` seconds; None: whole."""
        sounds = self.sounds(split)
        classes, class_of = self.classes_of(sounds)
        kinds = self.sets(sounds)
        places = [Place(kinds, -self.level_db, self.level_db)] * (self.n_src - 1) + [Place(kinds)]
        seed = (self.corpus_seed, 3, SPLITS.index(split))
        mixtures = draw_sound_mixtures(sounds, places, self.n_mixtures[split], seed)
        return SoundMixtures(sounds, mixtures, self.n_src, classes, class_of, segment_s, self.seed)

    def sets(self, sounds: Sounds) -> list[list[int]]:
        """Sets of recordings that are as likely as each other in any place of a mixture."""
        return [list(range(len(sounds)))]

    def classes_of(self, sounds: Sounds) -> tuple[list[str], list[int]]:
        """Names of the classes, and the class of every recording."""
        classes = sorted({sound.kind for sound in sounds.sounds})
        return classes, [classes.index(sound.kind) for sound in sounds.sounds]


class SpeechEscData(EscData):
    """Mixtures in which each source is speech or an environmental sound, each as likely; classes ``speech``, ``env``.

    Two sources are of different speakers, or of different classes of ESC-50.

    Args:
        root: ESC-50.
        speech_root: LibriSpeech, or another folder of speech as ``subset/speaker/.../utterance``, at 16 kHz.
        train_subset: folder of the training speakers.
        valid_subset: folder of the validation speakers; None holds ``valid_speakers`` of the training speakers out.
        test_subset: folder of the test speakers.
        valid_speakers: see ``valid_subset``.
        n_src: as in :class:`EscData`; likewise all others.
        sample_rate: likewise.
        segment_s: likewise.
        batch_size: likewise.
        num_workers: likewise.
        seed: likewise.
        corpus_seed: likewise; of the speakers held out, too.
        n_train: likewise.
        n_valid: likewise.
        n_test: likewise.
        train_folds: likewise.
        valid_folds: likewise.
        test_folds: likewise.
        classes: likewise.
        level_db: likewise.
        cache_dir: likewise.

    Raises:
        StabError: an argument is out of its range.

    References:
        Tzinis et al., ICASSP 2021, has WSJ0 and ESC-50, a prior of one half for each source, and this pair of classes.
    """

    def __init__(
        self,
        root: str | None = None,
        speech_root: str | None = None,
        train_subset: str = "train-clean-100",
        valid_subset: str | None = None,
        test_subset: str = "test-other",
        valid_speakers: int = 25,
        n_src: int = 2,
        sample_rate: int = 8000,
        segment_s: float = 4.0,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
        corpus_seed: int = 0,
        n_train: int = 20000,
        n_valid: int = 3000,
        n_test: int = 3000,
        train_folds: Sequence[int] = (1, 2, 3),
        valid_folds: Sequence[int] = (4,),
        test_folds: Sequence[int] = (5,),
        classes: Sequence[str] | None = None,
        level_db: float = 2.5,
        cache_dir: str | None = None,
    ):
        super().__init__(
            root, n_src, sample_rate, segment_s, batch_size, num_workers, seed, corpus_seed, n_train, n_valid, n_test,
            train_folds, valid_folds, test_folds, classes, level_db, cache_dir,
        )  # fmt: skip
        self.speech_root, self.test_subset = speech_root, test_subset
        self.train_subset, self.valid_subset = train_subset, valid_subset
        self.valid_speakers = check_count("valid_speakers", valid_speakers, 1)

    def found(self, split: str) -> list[Sound]:
        """See the base; the speech comes first."""
        root = _folder("speech_root", self.speech_root, "the speech")
        subset = {"train": self.train_subset, "valid": self.valid_subset, "test": self.test_subset}[split]
        speech = find_speakers(root, subset or self.train_subset)
        if self.valid_subset is None and split != "test":
            speakers = sorted({sound.group for sound in speech})
            if self.valid_speakers >= len(speakers):
                raise StabError(f"valid_speakers must be less than the {len(speakers)} speakers of {subset}")
            shuffle(stream(self.corpus_seed, "speakers"), speakers)
            held_out = set(speakers[: self.valid_speakers])
            speech = [sound for sound in speech if (sound.group in held_out) == (split == "valid")]
        return [*speech, *super().found(split)]

    def sets(self, sounds: Sounds) -> list[list[int]]:
        """See the base: speech, and environmental sounds."""
        is_speech = [sound.kind == SPEECH for sound in sounds.sounds]
        return [[i for i, one in enumerate(is_speech) if one is wanted] for wanted in (True, False)]

    def classes_of(self, sounds: Sounds) -> tuple[list[str], list[int]]:
        """See the base."""
        return [SPEECH, ENV], [int(sound.kind != SPEECH) for sound in sounds.sounds]
