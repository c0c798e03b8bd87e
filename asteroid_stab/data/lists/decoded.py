"""Utterances of a list that are needed many times, decoded once and kept in a temporary file."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np

from asteroid_stab.audio.file import read_samples
from asteroid_stab.audio.positions import read_at, write_at
from asteroid_stab.data.lists.speech_folder import Utterance
from asteroid_stab.errors import cause

log = logging.getLogger(__name__)

_N_IN_MEMORY = 512  # utterances, at 16 bits a sample
_SPARE_BYTES = 2**30  # of the disk's room, which is left to others


class DecodedSpeech:
    """The samples of utterances, from their files or from a temporary file without a name, which ends with the process.

    A mixture of twenty needs twenty utterances to see whether it clips, and a hundred thousand mixtures need each
    utterance seventy times: decoding would take most of the time. An utterance is written when it is first needed
    again. Threads may read at once.

    Args:
        root: the speech corpus.
        utterances: the utterances.
        used: numbers of the utterances that will be needed.
        folder: of the temporary file, which takes up to 2 bytes a sample; where there is no room, it is said, and
            utterances are decoded again.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        utterances: Sequence[Utterance],
        used: Iterable[int],
        folder: str | os.PathLike[str],
    ):
        self.root, self.utterances = root, utterances
        place = Path(folder).absolute()  # a folder that will be made with the list is not there yet
        self.folder = next(one for one in (place, *place.parents) if one.is_dir())
        self._offsets: dict[int, int] = {}  # place of each utterance in the file, in bytes
        self.n_bytes = 0
        for utterance in used:
            self._offsets[utterance] = self.n_bytes
            self.n_bytes += 2 * utterances[utterance].n_frames
        self._written: set[int] = set()
        self._descriptor: int | None = None
        self._is_open, self._opening = False, Lock()
        self._recent = lru_cache(_N_IN_MEMORY)(self._kept)

    def decode(self, utterance: int) -> np.ndarray:
        """Returns all samples of an utterance from its file, float32."""
        source = self.utterances[utterance]
        return read_samples(f"{self.root}/{source.name}", 0, source.n_frames)

    def integers(self, utterance: int) -> np.ndarray:
        """Returns all samples of an utterance, int16."""
        return self._recent(utterance)

    def close(self) -> None:
        """Removes the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None
        self._written.clear()

    def _kept(self, utterance: int) -> np.ndarray:
        if utterance in self._written:
            assert self._descriptor is not None
            kept = np.empty(self.utterances[utterance].n_frames, np.int16)
            if read_at(self._descriptor, kept.data.cast("B"), self._offsets[utterance]) == kept.nbytes:
                return kept
        integers = np.clip(np.rint(self.decode(utterance) * 32_768), -32_768, 32_767).astype(np.int16)
        if (descriptor := self._opened()) is not None:
            try:
                write_at(descriptor, integers.tobytes(), self._offsets[utterance])
                self._written.add(utterance)
            except OSError as error:  # somebody else has filled the disk
                log.warning("decoded speech is not kept in %s any more (%s)", self.folder, cause(error))
        return integers

    def _opened(self) -> int | None:
        """The file, made at the first call; None where there is no room for it."""
        with self._opening:
            if not self._is_open:
                self._is_open = True
                free = shutil.disk_usage(self.folder).free
                if free < self.n_bytes + _SPARE_BYTES:
                    log.warning(
                        "decodes utterances again for each mixture: to keep them, %s must have room for %.1f GB and "
                        "%.1f GB to spare, got %.1f GB",
                        self.folder, self.n_bytes / 1e9, _SPARE_BYTES / 1e9, free / 1e9,
                    )  # fmt: skip
                else:
                    with tempfile.TemporaryFile(dir=self.folder) as file:
                        self._descriptor = os.dup(file.fileno())
        return self._descriptor
