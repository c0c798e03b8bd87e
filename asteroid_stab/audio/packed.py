"""Packed cache: the signals of a mixture list, decoded and resampled once, in one file.

The file holds, one after the other: a magic word, a digest of the packed files, the tracks' scales
(float32), and all samples as int16. A track's samples are its integers times its scale. Speech that is not
resampled keeps the integers of its own 16-bit file, so nothing is lost; a resampled track is scaled to use
the whole range.

The error of a mixture of J sources is therefore at most the sum over them of (gain x peak) / 2 steps of a
16-bit file: half a step for each source that just fits, as if the sources were written to 16-bit files.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track as progress

from asteroid_stab.atomic import making, replacing
from asteroid_stab.audio.integers import IntegerFile
from asteroid_stab.audio.tracks import Tracks
from asteroid_stab.errors import StabError, some

log = logging.getLogger(__name__)

_MAGIC = b"STABPK01"
_DIGEST_BYTES = 32
_HIGHEST = 32_767
_ONE_STEP = np.float32(1 / 32_768)


def _name(tracks: Tracks) -> str:
    """Name of the file of these signals, independent of the place and the state of their corpus."""
    digest = hashlib.sha256(f"{tracks.sample_rate}".encode())
    for name, n_frames in zip(tracks.names, tracks.n_frames, strict=True):
        digest.update(f"\n{name}\t{n_frames}".encode())
    return f"tracks_{tracks.sample_rate}hz_{digest.hexdigest()[:16]}.pack"


def _digest(tracks: Tracks) -> bytes:
    """Digest of the state of the files: their sizes and times of change."""
    digest = hashlib.sha256()
    stats = {path: os.stat(path) for path in dict.fromkeys(tracks.paths)}
    for path, length in zip(tracks.paths, tracks.lengths, strict=True):
        digest.update(f"{length} {stats[path].st_size} {stats[path].st_mtime_ns}\n".encode())
    return digest.digest()


def _data_offset(n_tracks: int) -> int:
    return -(-(len(_MAGIC) + _DIGEST_BYTES + 4 * n_tracks) // 64) * 64


def _quantise(samples: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """Returns ``samples`` as int16, and the scale that restores them; NaN for samples that are not all finite.

    An item that holds such a sample is refused when it is read, with its name; others of the corpus are not.
    """
    if not np.isfinite(samples).all():
        return np.zeros(len(samples), np.int16), np.float32(np.nan)
    steps = samples * np.float32(32_768)
    whole = np.rint(steps)
    if np.array_equal(steps, whole) and whole.max() <= _HIGHEST and whole.min() >= -_HIGHEST - 1:
        return whole.astype(np.int16), _ONE_STEP
    scale = np.float32(np.abs(samples).max() / _HIGHEST)
    return np.rint(samples / scale).astype(np.int16), scale


class PackedTracks:
    """Reads tracks from a packed file; see :class:`~asteroid_stab.audio.tracks.TrackReader`.

    Use :meth:`open_or_pack`. The object pickles by its path: every worker opens the file itself.

    Args:
        path: the packed file.
        lengths: length of every track, in samples.
    """

    def __init__(self, path: Path, lengths: list[int]):
        self.path = path
        self.offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        self._open()

    def _open(self) -> None:
        n_tracks = len(self.offsets) - 1
        with open(self.path, "rb") as file:
            file.seek(len(_MAGIC) + _DIGEST_BYTES)
            self.scales = np.frombuffer(file.read(4 * n_tracks), np.float32)
        self.samples = IntegerFile(self.path, _data_offset(n_tracks))

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "offsets": self.offsets}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def read_into(self, track: int, start: int, stop: int, gain: float, out: np.ndarray) -> None:
        offset = int(self.offsets[track])
        out[:] = self.samples.read(offset + start, offset + stop)  # converting first is faster than a mixed product
        out *= np.float32(gain * self.scales[track])

    def peak(self, track: int) -> float:
        return float(self.scales[track]) * 32_768

    @classmethod
    def open_or_pack(cls, tracks: Tracks, folder: Path) -> PackedTracks:
        """Opens the packed copy of these tracks in ``folder``; makes it unless a whole and current one is there.

        The file appears under its name complete or not at all. Of several processes that need it at once, one packs
        and the others wait.

        Args:
            tracks: the tracks to pack.
            folder: folder of packed files; made if it is not there.

        Raises:
            StabError: a file cannot be decoded, or the disk has not enough room.
        """
        path, digest = folder / _name(tracks), _digest(tracks)
        size = _packed_size(tracks)
        if _defect(path, digest, size) is not None:
            try:
                with making(path):
                    defect = _defect(path, digest, size)  # another process may have packed while this one waited
                    if defect is not None:
                        if path.exists():
                            log.warning("packing %s again: it %s", path, defect)
                        _pack(tracks, path, digest)
            except OSError as error:
                raise StabError(f"cannot write the packed cache {path}: {error.strerror}") from error
        return cls(path, tracks.lengths)


def _packed_size(tracks: Tracks) -> int:
    return _data_offset(len(tracks)) + 2 * sum(tracks.lengths)


def _defect(path: Path, digest: bytes, size: int) -> str | None:
    """Returns why the packed file cannot be used; None if it can."""
    if not path.exists():
        return "is not there"
    got = path.stat().st_size
    if got != size:
        return f"must have {size} bytes, has {got}"
    with open(path, "rb") as file:
        head = file.read(len(_MAGIC) + _DIGEST_BYTES)
    if head[: len(_MAGIC)] != _MAGIC:
        return "is of another version"
    return None if head[len(_MAGIC) :] == digest else "is older than the audio files"


def _pack(tracks: Tracks, path: Path, digest: bytes) -> None:
    """Decodes all tracks into an unfinished file beside ``path``, which then takes its name."""
    size, free = _packed_size(tracks), shutil.disk_usage(path.parent).free
    if free < size:
        raise StabError(f"the packed cache must have {size / 1e9:.1f} GB in {path.parent}, got {free / 1e9:.1f} GB")
    log.info("packing %d tracks into %s (%.2f GB)", len(tracks), path, size / 1e9)
    offsets = np.concatenate(([0], np.cumsum(tracks.lengths, dtype=np.int64))) * 2 + _data_offset(len(tracks))
    with replacing(path) as part:
        descriptor = os.open(part, os.O_WRONLY)

        damaged: list[str] = []

        def pack_one(track: int) -> np.float32:
            try:
                integers, scale = _quantise(tracks.read(track, 0, tracks.lengths[track]))
            except StabError as error:  # the others are decoded too, so that all damaged files are found at once
                damaged.append(str(error))
                return np.float32(np.nan)
            _write_at(descriptor, integers.tobytes(), int(offsets[track]))
            return scale

        try:
            # Threads: libsndfile and the disk work outside Python's lock.
            with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
                done = pool.map(pack_one, range(len(tracks)))
                shown = progress(done, "packing", len(tracks), transient=True, disable=not sys.stderr.isatty())
                try:
                    scales = np.fromiter(shown, np.float32, len(tracks))
                except BaseException:  # Ctrl-C: the others are not waited for
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
            if damaged:
                counted = f"{len(damaged)} of {len(tracks)} tracks cannot be packed: " if len(damaged) > 1 else ""
                raise StabError(f"{counted}{some(sorted(damaged))}")
            os.ftruncate(descriptor, size)
            _write_at(descriptor, _MAGIC + digest + scales.tobytes(), 0)
        finally:
            os.close(descriptor)


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Writes all of ``data`` at ``offset``; the system may take it in several parts."""
    view = memoryview(data)
    while view:
        n_written = os.pwrite(descriptor, view, offset)
        view, offset = view[n_written:], offset + n_written
