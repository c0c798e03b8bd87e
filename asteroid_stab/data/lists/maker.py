"""Rows of a mixture list, with gains, from utterances that were paired."""

from __future__ import annotations

import hashlib
import math
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from asteroid_stab.audio.file import read_samples
from asteroid_stab.audio.mixing import SOURCE_RATE, extend_noise
from asteroid_stab.data.lists.levels import Gains, Level, draw_gains, measure
from asteroid_stab.data.lists.mixture_list import MixtureList
from asteroid_stab.data.lists.pairing import Mixture, deal_noise, shuffle
from asteroid_stab.data.lists.speech_folder import Utterance
from asteroid_stab.errors import StabError

# Called with work, its name and its amount; yields the work. Lets the command line show a bar.
Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]
_LONGEST_NAME = 200  # of a mixture, in bytes: it becomes a file name, which may have 255
_N_DECODED = 512  # utterances kept in memory (16 bits a sample) while clipping is checked


def stream(*labels: object) -> random.Random:
    """Returns a generator that depends on the labels alone, so that draws do not depend on the order of work."""
    return random.Random(int.from_bytes(hashlib.sha256(repr(labels).encode()).digest()[:8], "big"))


def hold_out(speakers: Sequence[str], n_held_out: int, seed: int) -> set[str]:
    """Draws ``n_held_out`` of the speakers, which must be in order; each is as likely.

    Example:
        >>> sorted(hold_out(["1", "2", "3", "4"], 2, seed=0))
        ['1', '3']
    """
    order = list(speakers)
    shuffle(stream(seed, "speakers"), order)
    return set(order[:n_held_out])


@dataclass(frozen=True)
class ListSummary:
    """Summary of a list.

    Attributes:
        path: the list.
        n_mixtures: number of its rows.
        n_speakers: number of speakers in it.
        hours_min: length of all mixtures in mode min.
        hours_max: length of all mixtures in mode max.
        n_clipped_sources: sources turned down because they would have clipped.
        n_clipped_mixtures: mixtures turned down because their sum would have clipped.
        n_too_short: utterances of the speakers' folders that were too short to be used.
        unused: utterances that were long enough and are in no mixture.
        noise_passes: number of passes through the noises; 0 without noise.
    """

    path: str
    n_mixtures: int
    n_speakers: int
    hours_min: float
    hours_max: float
    n_clipped_sources: int
    n_clipped_mixtures: int
    n_too_short: int
    unused: list[str]
    noise_passes: int


class ListMaker:
    """Makes the rows of one list.

    Args:
        label: the list's name, on which its random draws depend.
        utterances: all utterances that may be used.
        mixtures: utterances of each mixture, as positions in ``utterances``.
        root: the speech corpus.
        noises: noises to add; empty for none.
        noise_root: the noise corpus.
        seed: of all draws.
    """

    def __init__(
        self,
        label: str,
        utterances: Sequence[Utterance],
        mixtures: Sequence[Mixture],
        root: str | os.PathLike[str],
        noises: Sequence[Utterance],
        noise_root: str | os.PathLike[str] | None,
        seed: int,
    ):
        self.label, self.utterances, self.mixtures, self.seed = label, utterances, mixtures, seed
        self.root, self.noises, self.noise_root = root, noises, noise_root
        self.n_src = len(mixtures[0])
        self.longest = [max(utterances[u].n_frames for u in mixture) for mixture in mixtures]
        self.dealt: list[int] = []
        self.noise_passes = 0
        if noises:
            lengths = [noise.n_frames for noise in noises]
            self.dealt, self.noise_passes = deal_noise(lengths, self.longest, stream(seed, label, "noise"))
        self._kept = lru_cache(_N_DECODED)(self._decode_16_bit)
        self._levels: dict[int, Level] = {}

    def make(self, path: str, n_too_short: int, progress: Progress) -> tuple[MixtureList, ListSummary]:
        """Makes the list, and its summary.

        Args:
            path: path of the list, for the summary.
            n_too_short: utterances that were left out, for the summary.
            progress: wraps the long loops.

        Raises:
            StabError: audio cannot be decoded, or an utterance is silent.
        """
        used = sorted({u for mixture in self.mixtures for u in mixture})
        # Threads, since decoding, filtering and the disk work outside Python's lock; results come in order.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            levels = progress(pool.map(self._measured, used), "loudness", len(used))
            self._levels = dict(zip(used, levels, strict=True))
            rows = range(len(self.mixtures))
            gains: list[Gains] = list(progress(pool.map(self._gains, rows), "mixtures", len(rows)))
        sources = [[self.utterances[u] for u in mixture] for mixture in self.mixtures]
        mixtures = MixtureList(
            names=self._names(),
            sources=[[u.name for u in row] for row in sources],
            gains=[row.values[: self.n_src] for row in gains],
            noises=[self.noises[noise].name for noise in self.dealt],
            noise_gains=[row.values[-1] for row in gains] if self.noises else [],
        )
        unused = set(range(len(self.utterances))) - set(used)
        summary = ListSummary(
            path=path,
            n_mixtures=len(mixtures),
            n_speakers=len({u.speaker for row in sources for u in row}),
            hours_min=sum(min(u.n_frames for u in row) for row in sources) / SOURCE_RATE / 3600,
            hours_max=sum(self.longest) / SOURCE_RATE / 3600,
            n_clipped_sources=sum(row.n_clipped for row in gains),
            n_clipped_mixtures=sum(row.mixture_clipped for row in gains),
            n_too_short=n_too_short,
            unused=[self.utterances[u].name for u in sorted(unused)],
            noise_passes=self.noise_passes,
        )
        return mixtures, summary

    def _decode(self, utterance: int) -> np.ndarray:
        source = self.utterances[utterance]
        return read_samples(f"{self.root}/{source.name}", 0, source.n_frames)

    def _decode_16_bit(self, utterance: int) -> np.ndarray:
        return np.clip(np.rint(self._decode(utterance) * 32_768), -32_768, 32_767).astype(np.int16)

    def _measured(self, utterance: int) -> Level:
        level = measure(self._decode(utterance))
        if math.isinf(level.loudness):
            raise StabError(f"{self.root}/{self.utterances[utterance].name} must be louder than -70 LUFS, got silence")
        return level

    def _gains(self, row: int) -> Gains:
        """Draws the gains of one mixture, which depend on the row alone."""
        levels = [self._levels[u] for u in self.mixtures[row]]
        noise = np.zeros(0, np.float32)
        if self.noises:
            noise = self._noise(row)
            levels.append(measure(noise))

        def mix(gains: Sequence[float]) -> np.ndarray:
            mixture = np.zeros(self.longest[row], np.float32)
            for utterance, gain in zip(self.mixtures[row], gains, strict=False):
                source = self._kept(utterance)
                mixture[: len(source)] += source * np.float32(gain / 32_768)
            if self.noises:
                mixture += noise * np.float32(gains[-1])
            return mixture

        return draw_gains(levels, self.n_src, stream(self.seed, self.label, "gains", row), mix)

    def _noise(self, row: int) -> np.ndarray:
        """Reads the noise of a mixture, cut or repeated to the longest utterance."""
        source, n_frames = self.noises[self.dealt[row]], self.longest[row]
        path = f"{self.noise_root}/{source.name}"
        noise = read_samples(path, 0, min(source.n_frames, n_frames))
        try:
            return extend_noise(noise, n_frames)
        except ValueError as error:
            raise StabError(f"{path} cannot be repeated to {n_frames / SOURCE_RATE:.1f} s: {error}") from error

    def _names(self) -> list[str]:
        """Returns an id for every mixture: its files' names, as in LibriMix, or a digest if they are too long."""
        stems = [PurePosixPath(u.name).stem for u in self.utterances]
        twice = {stem for stem, count in Counter(stems).items() if count > 1}
        if twice:  # file names are unique within a speaker's folder only
            stems = [str(PurePosixPath(u.name).with_suffix("")).replace("/", "-") for u in self.utterances]
        names = []
        for mixture in self.mixtures:
            name = "_".join(stems[u] for u in mixture)
            if len(name.encode()) > _LONGEST_NAME:
                name = f"{self.n_src}src_{hashlib.sha256(name.encode()).hexdigest()[:24]}"
            names.append(name)
        return names
