"""16-bit samples in a file that many processes read, each at any place."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from asteroid_stab.audio.positions import read_at
from asteroid_stab.errors import StabError


class IntegerFile:
    """The 16-bit integers, least significant byte first, from a place in a file on.

    They are read, not mapped: where a mapped file is cut off while it is used, the system ends the process with SIGBUS
    and without a word. Reading takes as long. The object pickles by its path; every process opens the file itself.

    Args:
        path: the file.
        offset: place of the first integer, in bytes.
    """

    def __init__(self, path: str | os.PathLike[str], offset: int):
        self.path, self.offset = os.fspath(path), offset
        self._file: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    def read(self, start: int, stop: int) -> np.ndarray:
        """Returns integers ``[start, stop)``, int16 ``[stop - start]``.

        Raises:
            StabError: the file is missing, ends before ``stop``, or cannot be read.
        """
        integers = np.empty(stop - start, "<i2")
        left, place = integers.data.cast("B"), self.offset + 2 * start
        try:
            if self._file is None:
                self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115  open as long as this object lives
            while left:
                n_read = read_at(self._file.fileno(), left, place)
                if not n_read:
                    raise StabError(
                        f"{self.path} was cut off while it was in use: it ends at byte {place}, {len(left)} more are "
                        "needed; start again, and it is made again"
                    )
                left, place = left[n_read:], place + n_read
        except OSError as error:
            raise StabError(f"cannot read {self.path}: {error.strerror}") from error
        return integers
