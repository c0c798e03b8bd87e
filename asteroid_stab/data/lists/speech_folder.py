"""Utterances and noises in a folder, in an order that is the same on every machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from asteroid_stab.audio.file import check_header, probe_headers
from asteroid_stab.audio.mixing import SOURCE_RATE
from asteroid_stab.errors import StabError, nearest
from asteroid_stab.paths import folder_names, inside

_AUDIO = {".flac", ".wav"}


@dataclass(frozen=True)
class Utterance:
    """A file of speech or noise.

    Attributes:
        name: path relative to the corpus, with slashes.
        speaker: name of the speaker's folder; empty for noise.
        n_frames: length in samples at 16 kHz.
    """

    name: str
    speaker: str
    n_frames: int


def find_speech(
    root: str | os.PathLike[str], subsets: Sequence[str], damaged: dict[str, str] | None = None
) -> list[Utterance]:
    """Finds all utterances of ``root/subset/speaker/.../*.flac`` or ``.wav``, sorted by name.

    Args:
        root: the corpus.
        subsets: folders of the corpus to look in.
        damaged: takes the paths of the files that cannot be used, and why; None stops at the first.

    Raises:
        StabError: no such corpus or subset, no audio in it, audio outside a speaker's folder, or a file (with
            ``damaged``: every file) is damaged or not mono at 16 kHz.
    """
    root = _folder(root, "speech corpus")
    names: list[str] = []
    for subset in folder_names(subsets, f"a subset of {root}"):
        if not (root / subset).is_dir():
            there = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
            deeper = next((f"; {root / one} has it" for one in there if (root / one / subset).is_dir()), "")
            has = f"it has {', '.join(there) or 'no folders'}"
            raise StabError(f"{root} has no subset {subset!r}{nearest(subset, there)}; {has}{deeper}")
        found = sorted(_walk(root, subset))
        if not found:
            raise StabError(f"{root / subset} must hold .flac or .wav files, got none")
        names += found
    for name in names:
        if len(PurePosixPath(name).parts) < 3:
            raise StabError(f"utterances must stand in subset/speaker/, got {root / name}")
    return _with_lengths(root, names, True, damaged)


def find_noise(
    root: str | os.PathLike[str], subset: str | None = None, damaged: dict[str, str] | None = None
) -> list[Utterance]:
    """Finds all ``.wav`` and ``.flac`` files in a folder of noise, sorted by name.

    Args:
        root: the noise corpus.
        subset: folder of the corpus to look in; None: all.
        damaged: takes the paths of the files that cannot be used, and why; None stops at the first.

    Raises:
        StabError: no such folder, no audio in it, or a file (with ``damaged``: every file) is damaged or not at 16 kHz.
    """
    root = _folder(root, "noise corpus")
    if subset is not None:
        subset = inside(subset, "a subset of noise")
        _folder(root / subset, "subset of noise")
    names = sorted(_walk(root, subset or ""))
    if not names:
        raise StabError(f"{root / (subset or '')} must hold .flac or .wav files, got none")
    return _with_lengths(root, names, False, damaged)


def _folder(path: str | os.PathLike[str], what: str) -> Path:
    if not os.path.isdir(path):
        raise StabError(f"there is no {what} at {path}")
    return Path(path)


def _walk(root: Path, subset: str) -> Iterator[str]:
    for folder, _, files in os.walk(root / subset, followlinks=True):
        for file in files:
            if os.path.splitext(file)[1].lower() in _AUDIO and not file.startswith("."):
                yield (Path(folder) / file).relative_to(root).as_posix()


def _with_lengths(root: Path, names: Sequence[str], mono: bool, damaged: dict[str, str] | None) -> list[Utterance]:
    paths = [f"{root}/{name}" for name in names]
    found, first = [], ""
    for name, path, header in zip(names, paths, probe_headers(paths), strict=True):
        try:
            if header is None:
                raise StabError(f"{path} is a link to a file that is missing")
            if isinstance(header, StabError):
                raise header
            check_header(path, header, SOURCE_RATE, mono)
        except StabError as error:
            if damaged is None:
                raise
            damaged[path], first = str(error), first or str(error)
            continue
        found.append(Utterance(name, PurePosixPath(name).parts[1] if mono else "", header.n_frames))
    if not found:
        raise StabError(f"none of the {len(names)} audio files of {root} can be used: {first}")
    return found
