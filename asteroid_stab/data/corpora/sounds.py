"""Single recordings of any sample rate, each of a kind and a group, that mixtures are drawn from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asteroid_stab.audio.file import check_header, read_headers
from asteroid_stab.audio.mixing import SOURCE_RATE
from asteroid_stab.audio.packed import PackedTracks
from asteroid_stab.audio.tracks import Tracks
from asteroid_stab.data.lists.speech_folder import find_speech
from asteroid_stab.data.lists.table import ListTable
from asteroid_stab.errors import StabError, nearest
from asteroid_stab.paths import inside

SPEECH = "speech"
_COLUMNS = ("filename", "fold", "category")
_AUDIO = (".wav", ".flac", ".ogg")
_SILENT = 1e-3  # of the recording's peak; samples below are no sound (digital silence, a coder's residue)


class Sound(NamedTuple):
    """A recording.

    Attributes:
        root: folder that the name is relative to.
        name: path in it, with slashes.
        kind: a class of ESC-50, or speech.
        group: the class, or the speaker; no mixture has two sounds of one group.
        n_frames: length, in samples at its own rate.
        sample_rate: in Hz.
    """

    root: str
    name: str
    kind: str
    group: str
    n_frames: int
    sample_rate: int


def find_esc(root: str | os.PathLike[str], folds: Sequence[int], classes: Sequence[str] | None = None) -> list[Sound]:
    """Finds the recordings of some folds of ESC-50, in the order of its table.

    Args:
        root: the corpus: ``meta/esc50.csv`` with the columns filename, fold and category, and ``audio/``.
        folds: numbers from 1 to 5.
        classes: classes to keep; None keeps all.

    Raises:
        StabError: the table or files of it are missing or cannot be used, or a fold or class is none of the table's.

    References:
        Piczak, "ESC: dataset for environmental sound classification", ACM Multimedia 2015.
    """
    table = Path(root) / "meta" / "esc50.csv"
    if not table.is_file():
        raise StabError(f"there is no ESC-50 at {root}: it must hold meta/esc50.csv and audio/")
    listed = ListTable(table, "ESC-50 table")
    listed.require(_COLUMNS)
    rows = list(zip(*(listed.texts(column) for column in _COLUMNS), strict=True))
    if classes is not None and not classes:
        raise StabError("classes must name a class of ESC-50, got none; null keeps all")
    for name, asked, known in (
        ("folds", [str(fold) for fold in folds], sorted({fold for _, fold, _ in rows})),
        ("classes", list(classes or []), sorted({category for *_, category in rows})),
    ):
        if wrong := next((one for one in asked if one not in known), None):
            raise StabError(f"{name} must be of {', '.join(known)}, got {wrong}{nearest(wrong, known)}")
    asked_folds = set(map(str, folds))
    rows = [row for row in rows if row[1] in asked_folds and (not classes or row[2] in classes)]
    names = [inside(f"audio/{filename}", f"a filename of {table}") for filename, *_ in rows]
    sounds = []
    for (*_, category), name, header in zip(
        rows, names, read_headers([f"{root}/{name}" for name in names]), strict=True
    ):
        if header is None:
            raise StabError(f"{root}/{name} is in {table.name}, but there is no such file")
        check_header(f"{root}/{name}", header, header.sample_rate, mono=False)
        sounds.append(Sound(str(root), name, category, category, header.n_frames, header.sample_rate))
    return sounds


def find_speakers(root: str | os.PathLike[str], subset: str) -> list[Sound]:
    """Finds the utterances of a folder of speech, as in LibriSpeech, each in the group of its speaker.

    Args:
        root: the corpus, as ``subset/speaker/.../utterance.flac`` or ``.wav``, at 16 kHz.
        subset: a folder of it.

    Raises:
        StabError: see :func:`~asteroid_stab.data.lists.speech_folder.find_speech`.
    """
    found = find_speech(root, [subset])
    return [Sound(str(root), u.name, SPEECH, f"{SPEECH} {u.speaker}", u.n_frames, SOURCE_RATE) for u in found]


def find_sounds(root: str | os.PathLike[str], kind: str, subset: str = "") -> list[Sound]:
    """Finds all ``.wav``, ``.flac`` and ``.ogg`` files in a folder, sorted by name, each in a group of its own.

    Args:
        root: the folder.
        kind: kind of the sounds.
        subset: folder in ``root`` to look in; empty: all of it.

    Raises:
        StabError: no such folder, no such file in it, or one that cannot be read.
    """
    folder = Path(root) / inside(subset, f"a folder of {kind}")
    if not folder.is_dir():
        raise StabError(f"there is no folder of {kind} at {folder}")
    files = (path for path in folder.rglob("*") if path.suffix.lower() in _AUDIO and not path.name.startswith("."))
    names = sorted(path.relative_to(root).as_posix() for path in files)
    if not names:
        raise StabError(f"{folder} must hold {', '.join(_AUDIO)} files, got none")
    sounds = []
    for name, header in zip(names, read_headers([f"{root}/{name}" for name in names]), strict=True):
        if header is None:
            raise StabError(f"{root}/{name} is a link to a file that is missing")
        check_header(f"{root}/{name}", header, header.sample_rate, mono=False)
        sounds.append(Sound(str(root), name, kind, name, header.n_frames, header.sample_rate))
    return sounds


class Sounds:
    """Recordings resampled to one rate, from a packed copy that is made at first use.

    Args:
        sounds: the recordings.
        sample_rate: of the samples that are read, in Hz.
        cache: folder for the packed copy (2 bytes a sample).

    Attributes:
        lengths: of every recording, in samples at ``sample_rate``.

    Raises:
        StabError: a file cannot be decoded, or the cache cannot be written.
    """

    def __init__(self, sounds: Sequence[Sound], sample_rate: int, cache: Path):
        self.sounds, self.sample_rate = list(sounds), sample_rate
        frames = [sound.n_frames for sound in sounds]
        rates = [sound.sample_rate for sound in sounds]
        roots, names = [sound.root for sound in sounds], [sound.name for sound in sounds]
        tracks = Tracks(roots, names, frames, frames, sample_rate, rates)
        self.lengths = tracks.lengths
        self._ranges: dict[int, float] = {}  # of the samples of a recording, from the least to the largest
        self._reader = PackedTracks.open_or_pack(tracks, cache)

    def __len__(self) -> int:
        return len(self.lengths)

    def read(self, sound: int, start: int, stop: int) -> np.ndarray:
        """Reads samples ``[start, stop)`` of a recording, float32."""
        out = np.empty(stop - start, np.float32)
        self._reader.read_into(sound, start, stop, 1.0, out)
        return out

    def is_silent(self, sound: int, samples: np.ndarray) -> bool:
        """Returns whether samples of a recording are as good as constant, compared with the whole recording."""
        if sound not in self._ranges:
            self._ranges[sound] = float(np.ptp(self.read(sound, 0, self.lengths[sound])))
        return float(np.ptp(samples)) <= _SILENT * self._ranges[sound]
