"""Packed cache: the signals of a mixture list, decoded and resampled once, in one file.

The file holds, one after the other: a magic word, a digest of the packed files, the tracks' scales
(float32), and all samples as int16. A track's samples are its integers times its scale. Speech that is not
resampled keeps the integers of its own 16-bit file, so nothing is lost; a resampled track is scaled to use
the whole range.

The error of a mixture of J sources is therefore at most the sum over them of (gain x peak) / 2 steps of a
16-bit file: half a step for each source that just fits, as if the sources were written to 16-bit files.

Checksums stand in a file beside it, see :mod:`~asteroid_stab.audio.checksums`.
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

from asteroid_stab.atomic import making
from asteroid_stab.audio.checksums import check_sums, write_sums
from asteroid_stab.audio.integers import IntegerFile
from asteroid_stab.audio.positions import write_at
from asteroid_stab.audio.tracks import Tracks
from asteroid_stab.errors import StabError, some

log = logging.getLogger(__name__)

_MAGIC, _UNFINISHED = b"STABPK01", b"STABPART"
_DIGEST_BYTES = 32
_HEAD_BYTES = len(_MAGIC) + _DIGEST_BYTES
_NO_SCALE = b"\xff" * 4  # a NaN that no computation gives
_KEPT_TOGETHER = 256  # tracks; at most so many, and the ones under way, are packed again after a kill
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
    return -(-(_HEAD_BYTES + 4 * n_tracks) // 64) * 64


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
            file.seek(_HEAD_BYTES)
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

        The file appears under its name complete or not at all; a process that is killed leaves ``NAME.part``, which
        the next one goes on with. Of several processes that need it at once, one packs
        and the others wait.

        Args:
            tracks: the tracks to pack.
            folder: folder of packed files; made if it is not there.

        Raises:
            StabError: a file cannot be decoded, the disk has not enough room, or the packed file is damaged.
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
        check_sums(path, _offsets(tracks), tracks.names)
        return cls(path, tracks.lengths)


def _offsets(tracks: Tracks) -> list[int]:
    return np.cumsum([_data_offset(len(tracks)), *(2 * length for length in tracks.lengths)], dtype=np.int64).tolist()


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
        head = file.read(_HEAD_BYTES)
    if head[: len(_MAGIC)] != _MAGIC:
        return "is of another version"
    return None if head[len(_MAGIC) :] == digest else "is older than the audio files"


def _pack(tracks: Tracks, path: Path, digest: bytes) -> None:
    """Decodes all tracks into ``path.part``, which then takes the name ``path``.

    Tracks are written in order, and their scales after them: what a killed process has packed, the next one keeps.
    """
    size, part = _packed_size(tracks), path.with_name(f"{path.name}.part")
    scales = _scales_of(part, digest, size, len(tracks))
    first = len(scales)
    free = shutil.disk_usage(path.parent).free + (_taken(part) if first else 0)
    if free < size:
        raise StabError(f"the packed cache must have {size / 1e9:.1f} GB in {path.parent}, got {free / 1e9:.1f} GB")
    goes_on = f", of which {first} are packed" if first else ""
    log.warning("packing %d tracks into %s (%.2f GB)%s", len(tracks), path, size / 1e9, goes_on)
    offsets = _offsets(tracks)
    file = open(part, "r+b" if first else "w+b", buffering=0)  # noqa: SIM115  closed before it takes its name
    descriptor = file.fileno()
    damaged: list[str] = []

    def pack_one(track: int) -> np.float32:
        try:
            integers, scale = _quantise(tracks.read(track, 0, tracks.lengths[track]))
        except StabError as error:  # the others are decoded too, so that all damaged files are found at once
            damaged.append(str(error))
            return np.float32(np.nan)
        write_at(descriptor, integers.tobytes(), int(offsets[track]))
        return scale

    def keep() -> None:
        os.fsync(descriptor)  # a scale on the disk says that the samples are
        write_at(descriptor, np.array(scales[first:], np.float32).tobytes(), _HEAD_BYTES + 4 * first)

    try:
        if not first:
            write_at(descriptor, _UNFINISHED + digest + _NO_SCALE * len(tracks), 0)
            os.ftruncate(descriptor, size)
        # Threads: libsndfile and the disk work outside Python's lock.
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            done = pool.map(pack_one, range(first, len(tracks)))
            shown = progress(done, "packing", len(tracks) - first, transient=True, disable=not sys.stderr.isatty())
            try:
                for scale in shown:
                    scales.append(scale)
                    if len(scales) - first >= _KEPT_TOGETHER and not damaged:
                        keep()
                        first = len(scales)
            except BaseException:  # Ctrl-C: the others are not waited for
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if damaged:
            counted = f"{len(damaged)} of {len(tracks)} tracks cannot be packed: " if len(damaged) > 1 else ""
            first = 0  # once they are mended, the audio files are others
            raise StabError(f"{counted}{some(sorted(damaged))}")
        keep()
        write_at(descriptor, _MAGIC, 0)
        os.fsync(descriptor)
        first = len(tracks)
    finally:
        file.close()
        if not first:
            part.unlink()
    write_sums(part, path, offsets)
    os.replace(part, path)


def _scales_of(part: Path, digest: bytes, size: int, n_tracks: int) -> list[np.float32]:
    """Returns the scales of the first tracks, which an unfinished file of the same audio files holds."""
    if not part.is_file() or part.stat().st_size != size:
        return []
    with open(part, "rb") as file:
        if file.read(_HEAD_BYTES) not in (_UNFINISHED + digest, _MAGIC + digest):
            return []
        found = np.frombuffer(file.read(4 * n_tracks), np.uint32)
    unwritten = found == np.frombuffer(_NO_SCALE, np.uint32)
    return list(found[: int(unwritten.argmax()) if unwritten.any() else n_tracks].view(np.float32))


def _taken(part: Path) -> int:
    """Bytes that the file has on the disk; what was not written yet takes none."""
    return 512 * getattr(part.stat(), "st_blocks", 0)
