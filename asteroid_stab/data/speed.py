"""Speed perturbation: each source of a training mixture is played a little faster or slower, and the mixture remade."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from asteroid_stab.audio.resampling import heard_input, resampled_crop, resampled_length
from asteroid_stab.data.dataset import MixtureDataset, crop_start
from asteroid_stab.data.sampler import EpochSampler, TaskSampler
from asteroid_stab.errors import StabError

_WHOLE = 100  # speeds are whole percents, so that resampling is by ratios of small numbers
SLOWEST, FASTEST = 0.5, 2.0


def percents(speeds: Sequence[float]) -> tuple[int, ...]:
    """Returns speeds in percent.

    Raises:
        ValueError: one is no multiple of 0.01, out of range, or there twice.

    Example:
        >>> percents([0.95, 1.0, 1.05])
        (95, 100, 105)
    """
    found: list[int] = []
    for speed in speeds:
        is_number = isinstance(speed, (int, float)) and not isinstance(speed, bool)
        if not is_number or not SLOWEST <= speed <= FASTEST or abs(speed * _WHOLE - round(speed * _WHOLE)) > 1e-9:
            raise ValueError(f"speeds must be multiples of 0.01 from {SLOWEST} to {FASTEST}, got {speed!r}")
        if round(speed * _WHOLE) in found:
            raise ValueError(f"speeds must differ, got {speed} twice")
        found.append(round(speed * _WHOLE))
    return tuple(found)


class SpeedPerturbed(MixtureDataset):
    """Crops of a set's mixtures whose sources are each played at a speed of its own, drawn again in every epoch.

    Speed changes tempo and pitch together, as resampling does. Each source is resampled, all start where the mixture
    starts, and the mixture is their sum plus what the mixture had beside its sources (noise), which keeps its speed.
    So a mixture must be the sum of its sources and noise: with sources that lack the reverberation of the mixture, that
    would stay at its old speed. Several microphones are refused: how a source reaches the others is not known.

    The speeds are a function of (seed, epoch, id, source): the same for any number of workers and processes, and after
    a resume. Items keep their ids, names and order. A speed that would make an item shorter than the crop is not drawn
    for it; what a slower source has beyond the end of the mixture is left out.

    Args:
        base: the set, whose crops :meth:`MixtureDataset.audio` makes.
        speeds: speeds to draw from, all alike; 1.05 is 5% faster.
        seed: seed of the draws and crops.

    Raises:
        ValueError: a speed is out of its range.
        StabError: the set makes its crops itself, gives whole mixtures, or has several microphones.

    References:
        Ko, Peddinti, Povey, Khudanpur, "Audio augmentation for speech recognition", Interspeech 2015, for the method;
        for separation, with speeds of 0.95, 1 and 1.05, the recipes of SepFormer in SpeechBrain (``use_speedperturb``),
        which draw one speed for all items of a batch.
    """

    def __init__(self, base: MixtureDataset, speeds: Sequence[float], seed: int = 0):
        if type(base).audio is not MixtureDataset.audio or base.segment is None:
            raise StabError(
                f"{type(base).__name__} makes its items itself, and their sources cannot be played at other speeds: "
                "set loader.speeds=[]"
            )
        if base.n_mics > 1:
            raise StabError(
                f"a source's sound at each of {base.n_mics} microphones is not known, so that it cannot be played at "
                "another speed: set loader.speeds=[], or data.mics=[0]"
            )
        super().__init__(base.names, base.lengths, base.n_src, base.sample_rate, None, seed)
        self.base, self.percents = base, percents(speeds)
        self.segment: int = base.segment
        self.n_short = base.n_short
        self.classes, self.labels, self.n_active = base.classes, base.labels, base.n_active
        self.stable_ids, self.tasks = base.stable_ids, base.tasks

    @property
    def fingerprint(self) -> str:
        """Digest of the set itself: another speed changes no id."""
        return self.base.fingerprint

    def sampler(self, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> EpochSampler | TaskSampler:
        """Returns the set's own order."""
        return self.base.sampler(batch_size, seed, rank, world_size)

    def read(self, row: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        return self.base.read(self.base.rows[row], start, stop)

    def speeds_of(self, epoch: int, item: int) -> list[int]:
        """Returns the speeds of an item's sources in an epoch, in percent."""
        length = self.lengths[item]
        possible = [p for p in self.percents if resampled_length(length, _WHOLE, p) >= self.segment] or [_WHOLE]
        text = b"speed %d %d %d" % (self.seed, epoch, item)
        digests = [hashlib.blake2b(text + b" %d" % source, digest_size=8).digest() for source in range(self.n_src)]
        return [possible[int.from_bytes(digest, "big") * len(possible) >> 64] for digest in digests]

    def audio(self, epoch: int, item: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns mixture ``[T]`` and sources ``[J, T]`` of an item in an epoch."""
        speeds, length = self.speeds_of(epoch, item), self.lengths[item]
        shortest = min(length, *(resampled_length(length, _WHOLE, speed) for speed in speeds))
        start = crop_start(self.seed, epoch, item, shortest, self.segment)
        stop = start + self.segment
        if {*speeds} == {_WHOLE}:
            return self.read(item, start, stop)
        parts = [(start, stop), *(heard_input(start, stop, _WHOLE, speed) for speed in speeds)]
        first, last = min(begin for begin, _ in parts), min(length, max(end for _, end in parts))
        mixture, sources = self.read(item, first, last)
        noise = (mixture - sources.sum(0))[start - first : stop - first]
        played = [
            resampled_crop(_reader(source, first), length, _WHOLE, start, stop, speed)
            for source, speed in zip(sources, speeds, strict=True)
        ]
        made = np.stack(played).astype(np.float32, copy=False)
        return made.sum(0) + noise, made


def _reader(signal: np.ndarray, first: int) -> Callable[[int, int], np.ndarray]:
    """Gives samples of a signal of which those before ``first`` were not read."""
    return lambda start, stop: signal[start - first : stop - first]
