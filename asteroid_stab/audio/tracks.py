"""The signals that mixtures are made of, decoded from their files when they are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from asteroid_stab.audio.file import read_samples
from asteroid_stab.audio.mixing import SOURCE_RATE, extend_noise
from asteroid_stab.audio.resampling import resampled_crop, resampled_length
from asteroid_stab.errors import StabError


class TrackReader(Protocol):
    """Reader of samples of numbered tracks: :class:`Tracks` reads their files, others a packed copy of them."""

    def read_into(self, track: int, start: int, stop: int, gain: float, out: np.ndarray) -> None:
        """Writes samples ``[start, stop)`` of a track, times ``gain``, to ``out``, float32 ``[stop - start]``."""

    def peak(self, track: int) -> float:
        """Returns a bound on the track's samples, before gain; infinite if only reading all of them would show it."""


class Tracks:
    """A table of signals: each a file's first channel, cut or extended at its own rate, then resampled.

    Speech keeps its length (``n_frames`` equals the file's length). Noise is cut or repeated to the length of its
    mixture before it is resampled, so one noise file with two lengths is two tracks.

    Args:
        roots: folder of every track's file.
        names: file of every track, relative to its root.
        file_frames: length of every file, in samples at its own rate.
        n_frames: length of every track, in samples at its file's rate; only files at 16 kHz can be extended.
        sample_rate: of the samples that are read, in Hz.
        file_rates: rate of every file, in Hz; None: LibriMix's 16 kHz for all files.

    Attributes:
        lengths: length of every track, in samples at ``sample_rate``.
    """

    def __init__(
        self,
        roots: Sequence[str],
        names: Sequence[str],
        file_frames: Sequence[int],
        n_frames: Sequence[int],
        sample_rate: int,
        file_rates: Sequence[int] | None = None,
    ):
        self.names = list(names)
        self.paths = [f"{root}/{name}" for root, name in zip(roots, names, strict=True)]
        self.file_frames, self.n_frames = list(file_frames), list(n_frames)
        self.sample_rate = sample_rate
        self.file_rates = [SOURCE_RATE] * len(self.names) if file_rates is None else list(file_rates)
        rates = zip(self.n_frames, self.file_rates, strict=True)
        self.lengths = [resampled_length(n, sample_rate, file_rate) for n, file_rate in rates]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, track: int, start: int, stop: int, gain: float = 1.0) -> np.ndarray:
        """Reads samples ``[start, stop)`` at ``sample_rate``, times ``gain``, float32.

        The gain comes before the resampling, as in LibriMix's generator, so that the samples agree in their
        last bit.

        Raises:
            StabError: the file cannot be decoded, is truncated, or is a noise too short to be repeated.
        """
        path, n_file, n_track = self.paths[track], self.file_frames[track], self.n_frames[track]
        factor = np.float32(gain)

        def from_file(first: int, last: int) -> np.ndarray:
            return read_samples(path, first, last) * factor

        def from_noise(first: int, last: int) -> np.ndarray:
            return noise[first:last] * factor

        read = from_file
        if n_track > n_file:
            try:
                noise = extend_noise(read_samples(path, 0, n_file), n_track)
            except ValueError as error:
                raise StabError(f"{path} cannot be repeated to {n_track / SOURCE_RATE:.1f} s: {error}") from error
            read = from_noise
        return resampled_crop(read, n_track, self.sample_rate, start, stop, self.file_rates[track])

    def read_into(self, track: int, start: int, stop: int, gain: float, out: np.ndarray) -> None:
        out[:] = self.read(track, start, stop, gain)

    def peak(self, track: int) -> float:
        return math.inf
