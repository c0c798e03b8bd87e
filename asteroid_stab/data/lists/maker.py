"""Rows of a mixture list, with gains, from utterances that were paired."""

from __future__ import annotations

import hashlib
import math
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from asteroid_stab.audio.file import read_samples
from asteroid_stab.audio.mixing import SOURCE_RATE, extend_noise
from asteroid_stab.data.lists.decoded import DecodedSpeech
from asteroid_stab.data.lists.levels import Gains, Level, draw_gains, measure
from asteroid_stab.data.lists.mixture_list import MixtureList
from asteroid_stab.data.lists.pairing import Mixture, deal_noise, shuffle
from asteroid_stab.data.lists.speech_folder import Utterance
from asteroid_stab.errors import StabError

# Called with work, its name and its amount; yields the work. Lets the command line show a bar.
Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]
_LONGEST_NAME = 200  # of a mixture, in bytes: it becomes a file name, which may have 255


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
        damaged: paths of the files of speech and noise that cannot be used and were left out, and why.
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
    damaged: dict[str, str] = field(default_factory=dict)


class DamagedAudioError(Exception):
    """Files cannot be used in a list; ``reasons`` has their paths and why."""

    def __init__(self, reasons: dict[str, str]):
        super().__init__(f"{len(reasons)} files cannot be used")
        self.reasons = reasons


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
        levels: loudness of utterances by name, as far as it is known; takes what is measured here.
        scratch: folder for what is decoded while the list is made.
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
        levels: dict[str, Level],
        scratch: str | os.PathLike[str],
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
        self.used = sorted({u for mixture in mixtures for u in mixture})
        self.speech = DecodedSpeech(root, utterances, self.used, scratch)
        self._levels = levels

    def make(self, progress: Progress) -> tuple[MixtureList, ListSummary]:
        """Makes the list, and its summary, which the caller completes with what it knows alone.

        Args:
            progress: wraps the long loops.

        Raises:
            DamagedAudioError: utterances cannot be decoded, are silent or hold NaN; or noises do, or are too short.
        """
        # Threads, since decoding, filtering and the disk work outside Python's lock; results come in order.
        with closing(self.speech), ThreadPoolExecutor(os.cpu_count()) as pool:
            new = [u for u in self.used if self.utterances[u].name not in self._levels]
            levels = list(progress(pool.map(_kept_error(self._measured), new), "loudness", len(new)))
            paths = [f"{self.root}/{self.utterances[u].name}" for u in new]
            _check_usable(paths, levels)
            self._levels.update((self.utterances[u].name, level) for u, level in zip(new, levels, strict=True))
            rows = range(len(self.mixtures))
            gains: list[Any] = list(progress(pool.map(_kept_error(self._gains), rows), "mixtures", len(rows)))
            _check_usable([f"{self.noise_root}/{self.noises[noise].name}" for noise in self.dealt], gains)
        sources = [[self.utterances[u] for u in mixture] for mixture in self.mixtures]
        mixtures = MixtureList(
            names=self._names(),
            sources=[[u.name for u in row] for row in sources],
            gains=[row.values[: self.n_src] for row in gains],
            noises=[self.noises[noise].name for noise in self.dealt],
            noise_gains=[row.values[-1] for row in gains] if self.noises else [],
        )
        unused = set(range(len(self.utterances))) - set(self.used)
        summary = ListSummary(
            path=f"{self.label}.csv",
            n_mixtures=len(mixtures),
            n_speakers=len({u.speaker for row in sources for u in row}),
            hours_min=sum(min(u.n_frames for u in row) for row in sources) / SOURCE_RATE / 3600,
            hours_max=sum(self.longest) / SOURCE_RATE / 3600,
            n_clipped_sources=sum(row.n_clipped for row in gains),
            n_clipped_mixtures=sum(row.mixture_clipped for row in gains),
            n_too_short=0,
            unused=[self.utterances[u].name for u in sorted(unused)],
            noise_passes=self.noise_passes,
        )
        return mixtures, summary

    def _measured(self, utterance: int) -> Level:
        path = f"{self.root}/{self.utterances[utterance].name}"
        level = measure(_finite(self.speech.decode(utterance), path))
        if math.isinf(level.loudness):
            raise StabError(f"{path} must be louder than -70 LUFS, got silence")
        return level

    def _gains(self, row: int) -> Gains:
        """Draws the gains of one mixture, which depend on the row alone."""
        levels = [self._levels[self.utterances[u].name] for u in self.mixtures[row]]
        noise = np.zeros(0, np.float32)
        if self.noises:
            noise = self._noise(row)
            levels.append(measure(noise))

        def mix(gains: Sequence[float]) -> np.ndarray:
            mixture = np.zeros(self.longest[row], np.float32)
            for utterance, gain in zip(self.mixtures[row], gains, strict=False):
                source = self.speech.integers(utterance)
                mixture[: len(source)] += source * np.float32(gain / 32_768)
            if self.noises:
                mixture += noise * np.float32(gains[-1])
            return mixture

        return draw_gains(levels, self.n_src, stream(self.seed, self.label, "gains", row), mix)

    def _noise(self, row: int) -> np.ndarray:
        """Reads the noise of a mixture, cut or repeated to the longest utterance."""
        source, n_frames = self.noises[self.dealt[row]], self.longest[row]
        path = f"{self.noise_root}/{source.name}"
        noise = _finite(read_samples(path, 0, min(source.n_frames, n_frames)), path)
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


def _finite(samples: np.ndarray, path: str) -> np.ndarray:
    if not np.isfinite(samples).all():
        where = int(np.argmin(np.isfinite(samples)))
        raise StabError(f"{path} must hold finite samples, got {samples[where]} at {where / SOURCE_RATE:.2f} s")
    return samples


def _kept_error(work: Callable[[int], Any]) -> Callable[[int], Any]:
    """``work``, which returns a StabError in place of raising it, so that the work on the others is done."""

    def tried(number: int) -> Any:
        try:
            return work(number)
        except StabError as error:
            return error

    return tried


def _check_usable(paths: Sequence[str], results: Sequence[Any]) -> None:
    """Raises :class:`DamagedAudioError` for the paths whose results are errors."""
    reasons = {path: str(one) for path, one in zip(paths, results, strict=False) if isinstance(one, StabError)}
    if reasons:
        raise DamagedAudioError(reasons)
