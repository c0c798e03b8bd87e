"""Corpora with environmental sounds: ESC-50 against itself, and speech against it."""

from __future__ import annotations

from collections.abc import Sequence

from asteroid_stab.data.corpora.sound_corpus import SoundCorpus, check_folds
from asteroid_stab.data.corpora.sound_mixtures import Place
from asteroid_stab.data.corpora.sounds import SPEECH, Sound, Sounds, find_esc
from asteroid_stab.data.corpora.speech_folders import SpeechFolders
from asteroid_stab.data.corpus import check_folder, check_level

ENV = "env"


class EscCorpus(SoundCorpus):
    """Mixtures of ESC-50's recordings, of different classes, which are the sources' classes; see ``SoundMixtures``.

    Clips of one original recording are in one fold of ESC-50, so that splits made of folds share no recording.

    Args:
        root: ESC-50 or a corpus in its layout: ``meta/esc50.csv`` and ``audio/``.
        n_src: sources in a mixture.
        sample_rate: in Hz.
        corpus_seed: seed of the mixtures. Runs that differ in their own seed share them.
        n_train: mixtures to train on.
        n_valid: mixtures to validate with.
        n_test: mixtures to test with.
        train_folds: folds of ESC-50 to train on.
        valid_folds: folds to validate with.
        test_folds: folds to test with.
        classes: classes of ESC-50 to keep; None keeps all.
        level_db: every source but the last is up to this louder or softer than the last, in dB.
        cache_dir: folder of the decoded recordings; None: ``ASTEROID_STAB_CACHE``, else the user's cache folder.

    Raises:
        ValueError: an argument is out of its range, or a fold is in two splits.

    References:
        Piczak, "ESC: dataset for environmental sound classification", ACM Multimedia 2015; mixed as in Tzinis et al.,
        ICASSP 2021.
    """

    def __init__(
        self,
        root: str | None = None,
        n_src: int = 2,
        sample_rate: int = 8000,
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
        super().__init__(n_src, sample_rate, corpus_seed, n_train, n_valid, n_test, cache_dir)
        self.root, self.classes = root, None if classes is None else list(classes)
        self.folds = check_folds((train_folds, valid_folds, test_folds))
        self.level_db = check_level("level_db", level_db)

    def found(self, split: str) -> list[Sound]:
        """Finds the recordings of a split's folds."""
        return find_esc(check_folder("root", self.root, "the ESC-50 folder"), self.folds[split], self.classes)

    def places(self, sounds: Sounds) -> list[Place]:
        """Puts the last source at 0 dB, and each other one anywhere around it."""
        sets = self.sets(sounds)
        return [Place(sets, -self.level_db, self.level_db)] * (self.n_src - 1) + [Place(sets)]

    def sets(self, sounds: Sounds) -> list[list[int]]:
        """Returns sets of recordings, each as likely in any place of a mixture."""
        return [list(range(len(sounds)))]

    def classes_of(self, sounds: Sounds) -> tuple[list[str], list[int]]:
        """Returns the classes of ESC-50 that the recordings have."""
        classes = sorted({sound.kind for sound in sounds.sounds})
        return classes, [classes.index(sound.kind) for sound in sounds.sounds]


class SpeechEscCorpus(EscCorpus):
    """Mixtures in which each source is, as likely, speech or an environmental sound; classes ``speech``, ``env``.

    Two sources are of different speakers, or of different classes of ESC-50.

    Args:
        root: ESC-50.
        speech_root: LibriSpeech, or another folder of speech as ``subset/speaker/.../utterance``, at 16 kHz.
        train_subset: folder of the training speakers.
        valid_subset: folder of the validation speakers; None holds ``valid_speakers`` of the training speakers out.
        test_subset: folder of the test speakers.
        valid_speakers: number of training speakers held out where there is no ``valid_subset``.
        n_src: this and all other arguments are as in :class:`EscCorpus`; ``corpus_seed`` also draws the speakers that
            are held out.

    Raises:
        ValueError: an argument is out of its range.

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
            root, n_src, sample_rate, corpus_seed, n_train, n_valid, n_test,
            train_folds, valid_folds, test_folds, classes, level_db, cache_dir,
        )  # fmt: skip
        self.speech = SpeechFolders(
            speech_root, train_subset, valid_subset, test_subset, valid_speakers, sample_rate, corpus_seed
        )

    def found(self, split: str) -> list[Sound]:
        """Finds the speech, then the recordings of the split's folds."""
        check_folder("speech_root", self.speech.root, "the folder of speech, such as LibriSpeech")
        return [*self.speech.found(split), *super().found(split)]

    def sets(self, sounds: Sounds) -> list[list[int]]:
        """Returns two sets: speech, and environmental sounds."""
        is_speech = [sound.kind == SPEECH for sound in sounds.sounds]
        return [[i for i, one in enumerate(is_speech) if one is wanted] for wanted in (True, False)]

    def classes_of(self, sounds: Sounds) -> tuple[list[str], list[int]]:
        return [SPEECH, ENV], [int(sound.kind != SPEECH) for sound in sounds.sounds]
