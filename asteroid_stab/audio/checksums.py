"""Checksums of a packed cache, in a file beside it: what a disk has damaged is refused and not trained on."""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
from rich.progress import track as progress

from asteroid_stab.atomic import replacing
from asteroid_stab.errors import StabError, some

CHECK_ALL = "ASTEROID_STAB_CHECK_PACKS"
"""Environment variable; 1 compares all of a packed cache with its checksums whenever it is opened."""

_MAGIC = b"STABSUM1"
_LOOKED_AT = 16  # tracks, from the first to the last, that are compared at each opening: a few megabytes
_BLOCK = 1 << 20


def sums_file(path: Path) -> Path:
    """Returns the file of the checksums of a packed file."""
    return path.with_name(f"{path.name}.sums")


def write_sums(source: Path, path: Path, offsets: Sequence[int]) -> None:
    """Writes the checksums (CRC-32) of the head and of each track.

    Args:
        source: the packed file, whole, under its present name.
        path: the name that it will have.
        offsets: byte at which each track starts, and the end of the last one.
    """
    with open(source, "rb") as file:
        sums = [_sum(file, start, stop) for start, stop in pairwise([0, *offsets])]
    with replacing(sums_file(path)) as new:
        new.write_bytes(_MAGIC + np.array(sums, "<u4").tobytes())


def check_sums(path: Path, offsets: Sequence[int], names: Sequence[str]) -> None:
    """Compares the head and some tracks of a packed file with its checksums; all with :data:`CHECK_ALL`.

    A file that an earlier version packed has no checksums and is taken as it is.

    Args:
        path: the packed file.
        offsets: as for :func:`write_sums`.
        names: of the tracks, for messages.

    Raises:
        StabError: something is not what was packed, or all is to be compared and there are no checksums.
    """
    place, whole = sums_file(path), os.environ.get(CHECK_ALL) == "1"
    again = f"delete {path}, and it is packed again"
    if not place.is_file():
        if whole:
            raise StabError(f"{CHECK_ALL}=1 needs checksums, and {path} is of a version without them: {again}")
        return
    data = place.read_bytes()
    if data[: len(_MAGIC)] != _MAGIC or len(data) != len(_MAGIC) + 4 * len(offsets):
        raise StabError(f"{place} is damaged: {again}")
    sums, parts = np.frombuffer(data, "<u4", offset=len(_MAGIC)), list(pairwise([0, *offsets]))
    spread = np.linspace(1, len(names), min(len(names), _LOOKED_AT)).round().astype(int)
    looked_at = range(1, len(parts)) if whole else spread.tolist()
    shown = progress(looked_at, "checking", transient=True, disable=not (whole and sys.stderr.isatty()))
    with open(path, "rb") as file:
        if _sum(file, *parts[0]) != sums[0]:
            raise StabError(f"{path} is damaged at its start: {again}")
        damaged = [names[part - 1] for part in shown if _sum(file, *parts[part]) != sums[part]]
    if damaged:
        raise StabError(f"{path} is damaged: other samples than were packed, of {some(damaged)}; {again}")


def _sum(file: BinaryIO, start: int, stop: int) -> int:
    file.seek(start)
    total = 0
    while start < stop and (block := file.read(min(_BLOCK, stop - start))):
        total = zlib.crc32(block, total)
        start += len(block)
    return total
