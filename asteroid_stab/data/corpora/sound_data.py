"""What the corpora of single recordings share: numbers of mixtures, splits, the decoded copy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from asteroid_stab.data.corpora.sound_mixtures import Place, SoundMixtures, draw_sound_mixtures
from asteroid_stab.data.corpora.sounds import Sound, Sounds, find_speakers
from asteroid_stab.data.datamodule import SPLITS, MixtureDataModule, check_count, check_folder, check_split
from asteroid_stab.data.lists.maker import hold_out
from asteroid_stab.data.toy.speech import cache_folder
from asteroid_stab.errors import StabError


class SoundData(MixtureDataModule):
    """Mixtures of recordings that are drawn once for each split; see ``SoundMixtures``.

    A subclass has an explicit constructor and says which recordings a split has (:meth:`found`), what may stand in
    each place of a mixture (:meth:`places`), and the classes of the recordings (:meth:`classes_of`).

    Args:
        n_src: sources in a mixture.
        sample_rate: in Hz.
        segment_s: length of the crops for training and validation, in seconds; mixtures with shorter recordings are
            left out of these, and counted in the log.
        batch_size: items in a batch of one rank.
        num_workers: processes that load; 0 loads in the training process.
        seed: seed of the run: order and crops.
        corpus_seed: seed of the mixtures. Runs that differ in ``seed`` share them.
        n_mixtures: mixtures for training, validation and testing.
        cache_dir: where decoded recordings are kept; None: ``ASTEROID_STAB_CACHE``, else the user's cache folder.

    Raises:
        StabError: an argument is out of its range.
    """

    def __init__(
        self,
        n_src: int,
        sample_rate: int,
        segment_s: float,
        batch_size: int,
        num_workers: int,
        seed: int,
        corpus_seed: int,
        n_mixtures: tuple[int, int, int],
        cache_dir: str | None,
    ):
        super().__init__(n_src, sample_rate, segment_s, batch_size, num_workers, seed)
        self.corpus_seed, self.cache_dir = check_count("corpus_seed", corpus_seed, 0), cache_dir
        counts = zip(SPLITS, n_mixtures, strict=True)
        self.n_mixtures = {split: check_count(f"n_{split}", count, 1) for split, count in counts}
        self._sounds: dict[str, Sounds] = {}

    @abstractmethod
    def found(self, split: str) -> list[Sound]:
        """All recordings of a split."""

    @abstractmethod
    def places(self, sounds: Sounds) -> list[Place]:
        """What may stand in each place of a mixture; the sources come first."""

    @abstractmethod
    def classes_of(self, sounds: Sounds) -> tuple[list[str], list[int]]:
        """Names of the classes, and the class of every recording."""

    def sounds(self, split: str) -> Sounds:
        """The recordings of a split, decoded."""
        if check_split(split) not in self._sounds:
            self._sounds[split] = self._decode(split, cache_folder(self.cache_dir))
        return self._sounds[split]

    def _decode(self, split: str, cache: Path) -> Sounds:
        return Sounds(self.found(split), self.sample_rate, cache)

    def prepare_data(self) -> None:
        """Decodes the recordings for training and validation, if they are not in the cache."""
        for split in ("train", "valid"):
            self.sounds(split)

    def dataset(self, split: str, segment_s: float | None) -> SoundMixtures:
        """The mixtures of a split, in crops of ``segment_s`` seconds; None: whole."""
        sounds = self.sounds(split)
        if segment_s is not None:
            self._check_long(sounds, split, segment_s)
        classes, class_of = self.classes_of(sounds)
        seed = (self.corpus_seed, 3, SPLITS.index(split))
        mixtures = draw_sound_mixtures(sounds, self.places(sounds), self.n_mixtures[split], seed)
        return SoundMixtures(sounds, mixtures, self.n_src, classes, class_of, segment_s, self.seed)

    def _check_long(self, sounds: Sounds, split: str, segment_s: float) -> None:
        """Refuses a kind of recordings of which all are too short; mixtures with others are left out, and counted."""
        for root in dict.fromkeys(sound.root for sound in sounds.sounds):
            own = [n for n, sound in zip(sounds.lengths, sounds.sounds, strict=True) if sound.root == root]
            if max(own) < round(segment_s * self.sample_rate):
                raise StabError(
                    f"no recording of {root or 'speech'} for {split} is as long as segment_s={segment_s:g} "
                    f"({len(own)} recordings, the longest {max(own) / self.sample_rate:.2f} s)"
                )


class SpeechFolders:
    """The speakers of each split, from folders of a corpus in LibriSpeech's layout, at 16 kHz.

    Args:
        root: the corpus, as ``subset/speaker/.../utterance``.
        train_subset: folder of the training speakers.
        valid_subset: folder of the validation speakers; None holds ``valid_speakers`` of the training speakers out.
        test_subset: folder of the test speakers.
        valid_speakers: see ``valid_subset``.
        corpus_seed: seed of who is held out.
        key: key of ``data`` that says where the corpus is, for errors.
    """

    def __init__(
        self,
        root: str | None,
        train_subset: str,
        valid_subset: str | None,
        test_subset: str,
        valid_speakers: int,
        corpus_seed: int,
        key: str = "speech_root",
    ):
        self.root, self.corpus_seed, self.key = root, corpus_seed, key
        self.subsets = dict(zip(SPLITS, (train_subset, valid_subset or train_subset, test_subset), strict=True))
        self.holds_out = valid_subset is None
        for i, split in enumerate(SPLITS):
            for other in SPLITS[:i]:
                if self.subsets[split] == self.subsets[other] and not (self.holds_out and split == "valid"):
                    both = self.subsets[split]
                    raise StabError(f"{other}_subset and {split}_subset must be different folders, both are {both!r}")
        self.valid_speakers = check_count("valid_speakers", valid_speakers, 1)

    def found(self, split: str) -> list[Sound]:
        """The utterances of a split's speakers.

        Raises:
            StabError: the corpus or the folder is not there, or too few speakers would be left.
        """
        speech = find_speakers(check_folder(self.key, self.root, "the speech"), self.subsets[split])
        if not self.holds_out or split == "test":
            return speech
        speakers = sorted({sound.group for sound in speech})
        if self.valid_speakers >= len(speakers):
            subset = self.subsets[split]
            raise StabError(f"valid_speakers must be less than the {len(speakers)} speakers of {subset}")
        held_out = hold_out(speakers, self.valid_speakers, self.corpus_seed)
        return [sound for sound in speech if (sound.group in held_out) == (split == "valid")]


def check_folds(folds: Sequence[Sequence[int]]) -> dict[str, list[int]]:
    """The folds of each split, which must have none in common.

    Raises:
        StabError: a fold is in two splits, or a split has none.
    """
    if len(folds) != len(SPLITS):
        raise StabError(f"folds must be those of {', '.join(SPLITS)}, got {[list(own) for own in folds]}")
    named = {split: list(own) for split, own in zip(SPLITS, folds, strict=True)}
    for i, split in enumerate(SPLITS):
        if not named[split]:
            raise StabError(f"{split}_folds must name a fold, got none")
        for other in SPLITS[:i]:
            if both := set(named[split]) & set(named[other]):
                raise StabError(f"{other}_folds and {split}_folds must have no fold in common, got {sorted(both)}")
    return named
