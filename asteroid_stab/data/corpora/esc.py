"""Corpora with environmental sounds: ESC-50 against itself, and speech against it."""

from __future__ import annotations

from collections.abc import Sequence

from asteroid_stab.data.corpora.sound_data import SoundData, SpeechFolders, check_folds
from asteroid_stab.data.corpora.sound_mixtures import Place
from asteroid_stab.data.corpora.sounds import SPEECH, Sound, Sounds, find_esc
from asteroid_stab.data.datamodule import check_folder, check_level

ENV = "env"


class EscData(SoundData):
    """Mixtures of ESC-50's recordings, of different classes, which are the sources' classes; see ``SoundMixtures``.

    The five folds of ESC-50 keep together what was cut from one original recording, so that splits made of folds
    share none.

    Args:
        root: ESC-50 or a corpus in its layout: ``meta/esc50.csv`` and ``audio/``.
        n_src: sources in a mixture.
        sample_rate: in Hz.
        segment_s: length of the crops for training and validation, in seconds; mixtures with shorter recordings are
            left out of these, and counted in the log.
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
        super().__init__(
            n_src, sample_rate, segment_s, batch_size, num_workers, seed, corpus_seed, (n_train, n_valid, n_test),
            cache_dir,
        )  # fmt: skip
        self.root, self.classes = root, None if classes is None else list(classes)
        self.folds = check_folds((train_folds, valid_folds, test_folds))
        self.level_db = check_level("level_db", level_db)

    def found(self, split: str) -> list[Sound]:
        """The recordings of a split's folds."""
        return find_esc(check_folder("root", self.root, "ESC-50"), self.folds[split], self.classes)

    def places(self, sounds: Sounds) -> list[Place]:
        """The last source is at 0 dB, each other one anywhere around it."""
        sets = self.sets(sounds)
        return [Place(sets, -self.level_db, self.level_db)] * (self.n_src - 1) + [Place(sets)]

    def sets(self, sounds: Sounds) -> list[list[int]]:
        """Sets of recordings that are as likely as each other in any place of a mixture."""
        return [list(range(len(sounds)))]

    def classes_of(self, sounds: Sounds) -> tuple[list[str], list[int]]:
        """The classes of ESC-50 that are there."""
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
        self.speech = SpeechFolders(speech_root, train_subset, valid_subset, test_subset, valid_speakers, corpus_seed)

    def found(self, split: str) -> list[Sound]:
        """The speech, then the recordings of the split's folds."""
        return [*self.speech.found(split), *super().found(split)]

    def sets(self, sounds: Sounds) -> list[list[int]]:
        """See the base: speech, and environmental sounds."""
        is_speech = [sound.kind == SPEECH for sound in sounds.sounds]
        return [[i for i, one in enumerate(is_speech) if one is wanted] for wanted in (True, False)]

    def classes_of(self, sounds: Sounds) -> tuple[list[str], list[int]]:
        """See the base."""
        return [SPEECH, ENV], [int(sound.kind != SPEECH) for sound in sounds.sounds]
