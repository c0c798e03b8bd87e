"""Base of the corpora of single recordings: numbers of mixtures, splits, the decoded copy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from asteroid_stab.data.corpora.sound_mixtures import Place, SoundMixtures, draw_sound_mixtures
from asteroid_stab.data.corpora.sounds import Sound, Sounds
from asteroid_stab.data.corpus import SPLITS, Corpus, check_count, check_counts, check_split
from asteroid_stab.data.toy.speech import cache_folder
from asteroid_stab.errors import StabError


class SoundCorpus(Corpus):
    """Mixtures of recordings that are drawn once for each split; see ``SoundMixtures``.

    A subclass has an explicit constructor and gives the recordings of a split (:meth:`found`), what may stand in
    each place of a mixture (:meth:`places`), and the classes of the recordings (:meth:`classes_of`).

    Args:
        n_src: sources in a mixture.
        sample_rate: in Hz.
        corpus_seed: seed of the mixtures. Runs that differ in their own seed share them.
        n_train: mixtures to train on.
        n_valid: mixtures to validate with.
        n_test: mixtures to test with.
        cache_dir: folder of the decoded recordings; None: ``ASTEROID_STAB_CACHE``, else the user's cache folder.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        n_src: int,
        sample_rate: int,
        corpus_seed: int,
        n_train: int,
        n_valid: int,
        n_test: int,
        cache_dir: str | None,
    ):
        super().__init__(n_src, sample_rate)
        self.corpus_seed, self.cache_dir = check_count("corpus_seed", corpus_seed, 0), cache_dir
        self.n_mixtures = check_counts(n_train, n_valid, n_test)
        self._sounds: dict[str, Sounds] = {}

    @abstractmethod
    def found(self, split: str) -> list[Sound]:
        """Finds all recordings of a split."""

    @abstractmethod
    def places(self, sounds: Sounds) -> list[Place]:
        """Returns what may stand in each place of a mixture; the sources come first."""

    @abstractmethod
    def classes_of(self, sounds: Sounds) -> tuple[list[str], list[int]]:
        """Returns the names of the classes, and the class of every recording."""

    def sounds(self, split: str) -> Sounds:
        """Returns the recordings of a split, decoded."""
        if check_split(split) not in self._sounds:
            self._sounds[split] = self._decode(split, cache_folder(self.cache_dir))
        return self._sounds[split]

    def _decode(self, split: str, cache: Path) -> Sounds:
        return Sounds(self.found(split), self.sample_rate, cache)

    def prepare(self, splits: Sequence[str]) -> None:
        """Decodes the recordings that are not in the cache."""
        for split in splits:
            self.sounds(split)

    def dataset(self, split: str, segment_s: float | None = None, seed: int = 0) -> SoundMixtures:
        sounds = self.sounds(split)
        if segment_s is not None:
            self._check_long(sounds, split, segment_s)
        classes, class_of = self.classes_of(sounds)
        draw = (self.corpus_seed, 3, SPLITS.index(split))
        mixtures = draw_sound_mixtures(sounds, self.places(sounds), self.n_mixtures[split], draw)
        return SoundMixtures(sounds, mixtures, self.n_src, classes, class_of, segment_s, seed)

    def _check_long(self, sounds: Sounds, split: str, segment_s: float) -> None:
        """Checks that some recordings of each folder are long enough; mixtures with others are left out, and counted.

        Raises:
            StabError: all recordings of a folder are shorter than the segment.
        """
        for root in dict.fromkeys(sound.root for sound in sounds.sounds):
            own = [n for n, sound in zip(sounds.lengths, sounds.sounds, strict=True) if sound.root == root]
            if max(own) < round(segment_s * self.sample_rate):
                raise StabError(
                    f"no recording of {root or 'speech'} for {split} is as long as segment_s={segment_s:g} "
                    f"({len(own)} recordings, the longest {max(own) / self.sample_rate:.2f} s)"
                )


def check_folds(folds: Sequence[Sequence[int]]) -> dict[str, list[int]]:
    """Returns the folds of each split, of which none is in two.

    Args:
        folds: folds for training, validation and testing.

    Raises:
        ValueError: a split has no folds, or a fold is in two splits.
    """
    if len(folds) != len(SPLITS):
        raise ValueError(f"folds must be given for {', '.join(SPLITS)}, got {[list(own) for own in folds]}")
    named = {split: list(own) for split, own in zip(SPLITS, folds, strict=True)}
    for i, split in enumerate(SPLITS):
        if not named[split]:
            raise ValueError(f"{split}_folds must name a fold, got none")
        for other in SPLITS[:i]:
            if both := set(named[split]) & set(named[other]):
                raise ValueError(f"{other}_folds and {split}_folds must have no fold in common, got {sorted(both)}")
    return named
