"""A mixture list together with the table of the signals that its rows are made of."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from asteroid_stab.audio.file import Header, check_header, read_headers
from asteroid_stab.audio.mixing import SOURCE_RATE
from asteroid_stab.audio.tracks import Tracks
from asteroid_stab.data.lists.mixture_list import MixtureList
from asteroid_stab.errors import StabError, some

log = logging.getLogger(__name__)

TASKS = ("sep_clean", "sep_noisy", "enh_single")
MODES = ("min", "max")


@dataclass(frozen=True)
class MixtureTracks:
    """Rows of a mixture list, as numbers of tracks in a table of signals.

    Every field but ``tracks`` and ``n_out`` has an entry a mixture.

    Attributes:
        tracks: the signals.
        names: the mixtures' ids.
        lengths: of the mixtures, in samples at the tracks' sample rate.
        n_out: number of sources of a mixture that are targets: the first ones of the row.
        sources: tracks of all sources of the row.
        gains: factor of each source.
        noises: track of the noise; empty for a task without noise.
        noise_gains: factor of the noise; empty for a task without noise.
    """

    tracks: Tracks
    names: list[str]
    lengths: list[int]
    n_out: int
    sources: list[list[int]]
    gains: list[list[float]]
    noises: list[int]
    noise_gains: list[float]


def gather_tracks(
    mixtures: MixtureList,
    root: str,
    noise_root: str | None,
    task: str,
    mode: str,
    sample_rate: int,
    n_src: int,
    skip_missing: bool = False,
    label: str = "the list",
) -> MixtureTracks:
    """Returns the list's rows with the signals that they need, after a check of every file's header.

    Args:
        mixtures: the list.
        root: folder that source paths start from.
        noise_root: folder that noise paths start from; None for a task without noise.
        task: ``sep_clean``, ``sep_noisy`` or ``enh_single``.
        mode: ``min`` or ``max``.
        sample_rate: of the mixtures, in Hz.
        n_src: number of sources that a mixture must have.
        skip_missing: leave rows out whose files are missing, instead of raising.
        label: name of the list, for errors.

    Raises:
        StabError: the list has another number of sources, or no noise for a task with noise; files are missing; or a
            file is not mono speech (noise may have more channels) at 16 kHz.
    """
    n_out = 1 if task == "enh_single" else mixtures.n_src
    if n_src != n_out:
        raise StabError(f"{label} has {mixtures.n_src} sources in a mixture, but n_src={n_src} was asked for")
    noisy = task != "sep_clean"
    if noisy and not mixtures.noises:
        raise StabError(f"task {task} must have noise, but {label} has no noise_path column")
    speech = _headers(root, [name for row in mixtures.sources for name in row], mono=True)
    noise = _headers(str(noise_root), mixtures.noises, mono=False) if noisy else {}
    mixtures = _present(mixtures, root, speech, str(noise_root), noise if noisy else None, skip_missing, label)

    places: dict[tuple[bool, str, int], int] = {}  # (is noise, name, length at 16 kHz) -> number of the track

    def place(name: str, n_frames: int, is_noise: bool = False) -> int:
        return places.setdefault((is_noise, name, n_frames), len(places))

    frames = [[speech[name].n_frames for name in row] for row in mixtures.sources]
    sources = [[place(name, speech[name].n_frames) for name in row] for row in mixtures.sources]
    # The generator cuts or repeats the noise to the longest utterance in either mode, before it resamples.
    noises = [place(mixtures.noises[i], max(row), True) for i, row in enumerate(frames) if noisy]
    tracks = Tracks(
        roots=[str(noise_root) if is_noise else root for is_noise, _, _ in places],
        names=[name for _, name, _ in places],
        file_frames=[(noise if is_noise else speech)[name].n_frames for is_noise, name, _ in places],
        n_frames=[n_frames for _, _, n_frames in places],
        sample_rate=sample_rate,
    )
    pick = min if mode == "min" else max
    return MixtureTracks(
        tracks=tracks,
        names=mixtures.names,
        lengths=[pick(tracks.lengths[track] for track in row) for row in sources],
        n_out=n_out,
        sources=sources,
        gains=mixtures.gains,
        noises=noises,
        noise_gains=mixtures.noise_gains if noisy else [],
    )


def _headers(root: str, names: list[str], mono: bool) -> dict[str, Header]:
    """Returns the checked headers of the files that are there."""
    unique = list(dict.fromkeys(names))
    paths = [f"{root}/{name}" for name in unique]
    found = {}
    for name, path, header in zip(unique, paths, read_headers(paths), strict=True):
        if header is not None:
            check_header(path, header, SOURCE_RATE, mono)
            found[name] = header
    return found


def _present(
    mixtures: MixtureList,
    root: str,
    speech: dict[str, Header],
    noise_root: str,
    noise: dict[str, Header] | None,
    skip_missing: bool,
    label: str,
) -> MixtureList:
    """Returns the rows whose files are all there; raises for the others unless they may be skipped."""
    missing: dict[str, None] = {}
    kept = []
    for row, sources in enumerate(mixtures.sources):
        absent = [f"{root}/{name}" for name in sources if name not in speech]
        if noise is not None and mixtures.noises[row] not in noise:
            absent.append(f"{noise_root}/{mixtures.noises[row]}")
        missing.update(dict.fromkeys(absent))
        if not absent:
            kept.append(row)
    if not missing:
        return mixtures
    report = f"{len(mixtures) - len(kept)} of the {len(mixtures)} mixtures of {label} need files that are missing"
    report = f"{report} ({len(missing)} files: {some(list(missing))})"
    if not skip_missing:
        raise StabError(f"{report}; {{argument}}=true leaves these mixtures out", "skip_missing")
    if not kept:
        raise StabError(f"{report}; without them nothing remains")
    log.warning("%s; left out", report)
    return mixtures.take(kept)
