"""Bank of rooms: the impulse responses of many rooms, simulated once, in one file.

The file holds, one after the other: a magic word, a digest of what was asked for, the number of rooms that are done,
and the rooms, as float32. A room has for each of its positions the distances to the microphones, then the direct sound
at each microphone, then the whole response at each microphone.

Checksums stand in a file beside it, see :mod:`~asteroid_stab.audio.checksums`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.progress import track as progress

from asteroid_stab.atomic import making
from asteroid_stab.audio.checksums import check_sums, write_sums
from asteroid_stab.audio.integers import IntegerFile
from asteroid_stab.audio.positions import write_at
from asteroid_stab.data.rooms.geometry import GEOMETRIES, Room, draw_room
from asteroid_stab.data.rooms.simulation import direct_length, impulse_responses, simulator
from asteroid_stab.errors import StabError

log = logging.getLogger(__name__)

_MAGIC, _UNFINISHED = b"STABRM01", b"STABROOM"
_DIGEST_BYTES, _COUNT_BYTES = 32, 8
_HEAD_BYTES, _FLOAT_BYTES = 64, 4
_MEND = "{argument} or ASTEROID_STAB_CACHE names another folder"
_KEPT_TOGETHER = 8  # rooms; at most so many are simulated again after a kill


class RoomPlan(NamedTuple):
    """Rooms of a bank. Room number i depends on the plan without its number of rooms, and on i.

    Attributes:
        geometry: a key of :data:`~asteroid_stab.data.rooms.geometry.GEOMETRIES`.
        n_rooms: number of rooms.
        n_mics: C, microphones in a room.
        n_positions: J, positions of sources in a room.
        low_rt60_s: least reverberation time.
        high_rt60_s: largest reverberation time.
        sample_rate: in Hz.
        seed: of the rooms.
    """

    geometry: str
    n_rooms: int
    n_mics: int
    n_positions: int
    low_rt60_s: float
    high_rt60_s: float
    sample_rate: int
    seed: tuple[int, ...]

    @property
    def n_direct(self) -> int:
        """Samples that are kept of the direct sound: all of it from any position."""
        return direct_length(GEOMETRIES[self.geometry].farthest_m, self.sample_rate)

    @property
    def n_samples(self) -> int:
        """Samples that are kept of a response: from any position as long as the largest reverberation time."""
        return self.n_direct + math.ceil(self.high_rt60_s * self.sample_rate)

    @property
    def n_floats(self) -> int:
        """Numbers that a position of a room takes."""
        return self.n_mics * (1 + self.n_direct + self.n_samples)

    @property
    def room_bytes(self) -> int:
        return _FLOAT_BYTES * self.n_positions * self.n_floats

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return _HEAD_BYTES + self.n_rooms * self.room_bytes

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(json.dumps(self).encode()).digest()

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"rooms_{self.geometry}_{self.digest.hex()[:16]}.bank"

    def room(self, number: int) -> Room:
        """Returns the geometry of a room."""
        limits = (self.low_rt60_s, self.high_rt60_s)
        return draw_room(self.geometry, self.n_mics, self.n_positions, limits, (*self.seed, number))

    def offsets(self) -> list[int]:
        """Returns the byte at which each room starts, and the end of the last one."""
        return [_HEAD_BYTES + number * self.room_bytes for number in range(self.n_rooms + 1)]


class Responses(NamedTuple):
    """Impulse responses from one position of a room to its microphones.

    Attributes:
        distances: to each microphone in m, ``[C]``.
        direct: the direct sound alone, ``[C, D]``.
        whole: with all reflections, ``[C, L]``.
    """

    distances: np.ndarray
    direct: np.ndarray
    whole: np.ndarray


class RoomBank:
    """Reads impulse responses from a file. Use :meth:`open_or_make`.

    The object pickles by its path: every worker opens the file itself.

    Args:
        path: the file.
        plan: its rooms.
    """

    def __init__(self, path: Path, plan: RoomPlan):
        self.plan = plan
        self._floats = IntegerFile(path, _HEAD_BYTES)  # a float32 is two of its integers

    def read(self, room: int, position: int) -> Responses:
        """Reads the responses from a position of a room, float32.

        Raises:
            StabError: the file is missing, was cut off, or cannot be read.
        """
        plan = self.plan
        first = (room * plan.n_positions + position) * plan.n_floats
        numbers = self._floats.read(2 * first, 2 * (first + plan.n_floats)).view("<f4")
        ends = np.cumsum([plan.n_mics, plan.n_mics * plan.n_direct])
        distances, direct, whole = np.split(numbers, ends)
        return Responses(distances, direct.reshape(plan.n_mics, -1), whole.reshape(plan.n_mics, -1))

    @classmethod
    def open_or_make(cls, plan: RoomPlan, folder: Path) -> RoomBank:
        """Opens the bank of this plan in ``folder``; simulates the rooms unless a whole one is there.

        The file appears under its name complete or not at all; a process that is killed leaves ``NAME.part``, which
        the next one goes on with. Of several processes that need it at once, one simulates and the others wait. A bank
        that is there needs no pyroomacoustics.

        Raises:
            StabError: pyroomacoustics is not installed, the disk has not enough room, or the bank is damaged.
        """
        path = folder / plan.name
        try:
            if _defect(path, plan) is not None:
                simulator()  # before a folder is made
                with making(path):
                    defect = _defect(path, plan)  # another process may have made it while this one waited
                    if defect is not None:
                        if path.exists():
                            log.warning("simulating %s again: it %s", path, defect)
                        _make(plan, path)
        except OSError as error:
            raise StabError(f"cannot write the bank of rooms {path}: {error.strerror}; {_MEND}", "cache_dir") from error
        check_sums(path, plan.offsets(), [f"room {number}" for number in range(plan.n_rooms)])
        return cls(path, plan)


def _defect(path: Path, plan: RoomPlan) -> str | None:
    """Returns why the file cannot be used; None if it can."""
    if not path.exists():
        return "is not there"
    got = path.stat().st_size
    if got != plan.size:
        return f"must have {plan.size} bytes, has {got}"
    with open(path, "rb") as file:
        head = file.read(len(_MAGIC) + _DIGEST_BYTES)
    return None if head == _MAGIC + plan.digest else "is of another version"


def _make(plan: RoomPlan, path: Path) -> None:
    """Simulates all rooms into ``path.part``, which then takes the name ``path``."""
    part = path.with_name(f"{path.name}.part")
    first = _n_done(part, plan)
    free = shutil.disk_usage(path.parent).free + first * plan.room_bytes
    if free < plan.size:
        raise StabError(
            f"the bank of rooms must have {plan.size / 1e9:.1f} GB in {path.parent}, got {free / 1e9:.1f} GB; {_MEND}",
            "cache_dir",
        )
    goes_on = f", of which {first} are done" if first else ""
    log.warning("simulating %d rooms into %s (%.1f MB)%s", plan.n_rooms, path, plan.size / 1e6, goes_on)
    with open(part, "r+b" if first else "w+b", buffering=0) as file:
        descriptor = file.fileno()
        if not first:
            write_at(descriptor, _UNFINISHED + plan.digest + bytes(_COUNT_BYTES), 0)
            os.ftruncate(descriptor, plan.size)
        numbers = range(first, plan.n_rooms)
        for number in progress(numbers, "simulating rooms", transient=True, disable=not sys.stderr.isatty()):
            samples = _simulated(plan, plan.room(number))
            write_at(descriptor, samples.tobytes(), _HEAD_BYTES + number * plan.room_bytes)
            if (number + 1) % _KEPT_TOGETHER == 0:
                _keep(descriptor, number + 1)
        _keep(descriptor, plan.n_rooms)
        write_at(descriptor, _MAGIC, 0)
        os.fsync(descriptor)
    write_sums(part, path, plan.offsets())
    os.replace(part, path)


def _simulated(plan: RoomPlan, room: Room) -> np.ndarray:
    """Returns a room as it stands in the file, float32 ``[J, n_floats]``."""
    whole = impulse_responses(room, plan.sample_rate)
    direct = impulse_responses(room, plan.sample_rate, reflected=False)
    parts = [room.distances(), _cut(direct, plan.n_direct), _cut(whole, plan.n_samples)]
    return np.concatenate([part.reshape(plan.n_positions, -1) for part in parts], 1).astype("<f4")


def _cut(responses: Sequence[Sequence[np.ndarray]], n_samples: int) -> np.ndarray:
    """Returns responses ``[J, C, n_samples]``: longer ones cut off, shorter ones with zeros after them."""
    cut = np.zeros((len(responses), len(responses[0]), n_samples))
    for position, row in enumerate(responses):
        for mic, response in enumerate(row):
            kept = response[:n_samples]
            cut[position, mic, : len(kept)] = kept
    return cut


def _keep(descriptor: int, n_done: int) -> None:
    os.fsync(descriptor)  # a number on the disk says that the rooms are
    write_at(descriptor, n_done.to_bytes(_COUNT_BYTES, "little"), len(_MAGIC) + _DIGEST_BYTES)


def _n_done(part: Path, plan: RoomPlan) -> int:
    """Number of rooms that an unfinished file of the same plan holds."""
    if not part.is_file() or part.stat().st_size != plan.size:
        return 0
    with open(part, "rb") as file:
        head: Any = file.read(_HEAD_BYTES)
    magic, count = head[: len(_MAGIC) + _DIGEST_BYTES], head[len(_MAGIC) + _DIGEST_BYTES :][:_COUNT_BYTES]
    n_done = int.from_bytes(count, "little")
    return n_done if magic in (_UNFINISHED + plan.digest, _MAGIC + plan.digest) and n_done <= plan.n_rooms else 0
