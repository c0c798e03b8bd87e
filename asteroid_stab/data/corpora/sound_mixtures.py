"""Mixtures of recordings: drawn once, with a fresh crop of each recording in every epoch."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from asteroid_stab.data.corpora.sounds import Sounds
from asteroid_stab.data.dataset import MixtureDataset, crop_start
from asteroid_stab.errors import StabError

RMS = 0.1  # of every mixture: 20 dB below full scale, so that it can be listened to
_ORDER = 1  # keeps the order of a place's recordings apart from the other draws
_N_DRAWS = 8  # of a crop that is not silent; after these the loudest one is taken


class SoundMixture(NamedTuple):
    """Recordings of a mixture, and their levels in dB."""

    sounds: tuple[int, ...]
    levels_db: tuple[float, ...]


class Place(NamedTuple):
    """Recordings that may stand in one place of a mixture, and the range of their level.

    Attributes:
        kinds: sets of recordings, each by their numbers; each set is as likely.
        low_db: least level, in dB.
        high_db: largest level, in dB.
        each_once: deal out each recording once, in random order, before one comes again; for one set, in the first
            place of a mixture.
    """

    kinds: Sequence[Sequence[int]]
    low_db: float = 0.0
    high_db: float = 0.0
    each_once: bool = False


def draw_sound_mixtures(
    sounds: Sounds, places: Sequence[Place], n_mixtures: int, seed: tuple[int, ...]
) -> list[SoundMixture]:
    """Draws mixtures of recordings of different groups. Number i depends on the seed and i alone.

    For each place, these are drawn uniformly: one of its sets, then a group of the set that is not in the mixture yet,
    then a recording of the group, and the level. A place with ``each_once`` takes the next recording of a random order.

    Args:
        sounds: the recordings.
        places: of a mixture, the sources' first.
        n_mixtures: number of mixtures.
        seed: of the draws.

    Raises:
        StabError: a set has too few groups.
    """
    by_group: list[list[dict[str, list[int]]]] = []
    for place in places:
        by_group.append([])
        for kind in place.kinds:
            groups: dict[str, list[int]] = defaultdict(list)
            for sound in kind:
                groups[sounds.sounds[sound].group].append(sound)
            by_group[-1].append(dict(groups))
    names = [[list(groups) for groups in sets] for sets in by_group]
    places_of = [[{name: i for i, name in enumerate(groups)} for groups in sets] for sets in names]
    if any(place.each_once for place in places[1:]) or (places[0].each_once and len(places[0].kinds) > 1):
        raise ValueError("each_once must be of the first place of a mixture, which takes its recordings from one set")
    drawn = []
    for i in range(n_mixtures):
        generator = np.random.default_rng((*seed, len(places), i))
        taken: list[int] = []
        levels = []
        used: list[str] = []
        for k, place in enumerate(places):
            if place.each_once:
                turn, position = divmod(i, len(place.kinds[0]))
                if position == 0:
                    order = np.random.default_rng((*seed, len(places), _ORDER, turn)).permutation(place.kinds[0])
                taken.append(int(order[position]))
                used.append(sounds.sounds[taken[-1]].group)
                levels.append(float(generator.uniform(place.low_db, place.high_db)))
                continue
            chosen = int(generator.integers(len(place.kinds)))
            groups, of_set = by_group[k][chosen], places_of[k][chosen]
            gone = sorted(of_set[name] for name in used if name in of_set)
            if len(gone) == len(groups):
                raise StabError(
                    f"a mixture of {len(places)} must have recordings of as many groups (classes, speakers), got "
                    f"{len(groups)}"
                )
            number = int(generator.integers(len(groups) - len(gone)))
            for position in gone:  # counts those that are free alone, without a list of them: WHAM! has 20,000
                number += number >= position
            group = names[k][chosen][number]
            used.append(group)
            taken.append(groups[group][int(generator.integers(len(groups[group])))])
            levels.append(float(generator.uniform(place.low_db, place.high_db)))
        drawn.append(SoundMixture(tuple(taken), tuple(levels)))
    return drawn


class SoundMixtures(MixtureDataset):
    """Mixtures of recordings, each brought to the same energy and then to its level.

    A crop of each recording is a function of (seed, epoch, id, place), so the recordings of a mixture move against
    each other from epoch to epoch. A silent crop is drawn again; after eight silent draws the loudest crop of the
    recording is taken. A crop loses its mean and gets unit energy before its level; the mixture has an RMS of 0.1.
    Whole mixtures are as long as their shortest recording, from its beginning.

    Args:
        sounds: the recordings.
        mixtures: recordings and levels of each mixture; see :func:`draw_sound_mixtures`.
        n_src: number of recordings of a mixture that are sources, the first ones; the others are noise.
        classes: names of the classes; none where the sources have none.
        class_of: class of every recording, a position in ``classes``.
        segment_s: length of a crop, in seconds; None gives whole mixtures.
        seed: seed of the crops.

    Raises:
        StabError: a recording is silent throughout; it is named.

    References:
        Tzinis et al., ICASSP 2021, and its public code: energy, level, mean and scale, and that a silent crop is
        replaced. There recordings are paired again in every epoch; here the pairs stay, so that ids mean something.
    """

    def __init__(
        self,
        sounds: Sounds,
        mixtures: Sequence[SoundMixture],
        n_src: int,
        classes: Sequence[str],
        class_of: Sequence[int],
        segment_s: float | None = None,
        seed: int = 0,
    ):
        names = [
            "_".join([f"{i:05d}", *(PurePosixPath(sounds.sounds[sound].name).stem for sound in mixture.sounds)])
            for i, mixture in enumerate(mixtures)
        ]
        lengths = [min(sounds.lengths[sound] for sound in mixture.sounds) for mixture in mixtures]
        super().__init__(names, lengths, n_src, sounds.sample_rate, segment_s, seed)
        self.sounds, self.mixtures, self.classes = sounds, mixtures, tuple(classes)
        if classes:
            self.labels = np.array([[class_of[sound] for sound in mixtures[row].sounds[:n_src]] for row in self.rows])

    @property
    def fingerprint(self) -> str:
        """Digest of what the ids stand for: names and levels."""
        levels = repr([self.mixtures[row].levels_db for row in self.rows])
        return hashlib.sha256(f"{super().fingerprint} {levels}".encode()).hexdigest()[:16]

    def audio(self, epoch: int, item: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns mixture ``[T]`` and sources ``[J, T]`` that item ``item`` gives in epoch ``epoch``."""
        mixture = self.mixtures[self.rows[item]]
        length = self.segment or self.lengths[item]
        parts = np.stack([self._crop(mixture.sounds, k, epoch, item, length) for k in range(len(mixture.sounds))])
        parts -= parts.mean(1, keepdims=True)
        parts *= (10 ** (np.array(mixture.levels_db) / 20) / np.sqrt((parts**2).mean(1)))[:, None]
        whole = parts.sum(0)
        scale = RMS / np.sqrt((whole**2).mean())
        return (whole * scale).astype(np.float32), (parts[: self.n_src] * scale).astype(np.float32)

    def _crop(self, sounds: Sequence[int], place: int, epoch: int, item: int, length: int) -> np.ndarray:
        sound = sounds[place]
        n_samples = self.sounds.lengths[sound]
        for draw in range(_N_DRAWS):
            number = (item * len(sounds) + place) * _N_DRAWS + draw
            start = 0 if self.segment is None else crop_start(self.seed, epoch, number, n_samples, length)
            crop = self.sounds.read(sound, start, start + length)
            if not self.sounds.is_silent(sound, crop):
                return crop.astype(np.float64)
        return self._loudest(sound, length)

    def _loudest(self, sound: int, length: int) -> np.ndarray:
        samples = self.sounds.read(sound, 0, self.sounds.lengths[sound]).astype(np.float64)
        energy = np.concatenate([[0.0], np.cumsum(samples**2)])
        energies = energy[length:] - energy[:-length]
        start = int(energies.argmax())
        if energies[start] <= 0 or np.ptp(samples[start : start + length]) == 0:
            raise StabError(f"the recording {self.sounds.sounds[sound].name!r} is silent throughout")
        return samples[start : start + length]

    def read(self, row: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads a part of the row's mixture of epoch 0."""
        mixture, sources = self.audio(0, self.rows.index(row))
        return mixture[start:stop], sources[:, start:stop]
