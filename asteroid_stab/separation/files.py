"""Separates a recording into one audio file for each speaker."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import soundfile as sf
import torch

from asteroid_stab.atomic import working_folder
from asteroid_stab.audio.stream import AudioInput
from asteroid_stab.errors import StabError
from asteroid_stab.metrics.counting import active_energies, check_active_db
from asteroid_stab.separation.chunks import Forward, Layout, separate_blocks

PEAK = 0.99
_WAV_BYTES = 2**32 - 2**16  # limit of a WAV file; RF64 has no limit
_BLOCK = 2**19


def estimate_path(folder: Path, recording: Path, number: int) -> Path:
    """The file of a speaker's estimate; speakers are counted from 1.

    Example:
        >>> estimate_path(Path("out"), Path("in/talk.flac"), 2).as_posix()
        'out/talk_est2.wav'
    """
    return folder / f"{recording.stem}_est{number}.wav"


def find_estimates(folder: Path, recording: Path) -> list[Path]:
    """Finds the files of a recording's estimates in a folder, of any number of speakers."""
    name = re.compile(re.escape(recording.stem) + r"_est[1-9]\d*\.wav")
    return sorted(path for path in folder.glob("*") if name.fullmatch(path.name)) if folder.is_dir() else []


def separate_file(
    forward: Forward,
    audio: AudioInput,
    folder: Path,
    windows: Layout,
    advance: Callable[[int], object] = lambda n_samples: None,
    active_db: float | None = None,
) -> list[Path]:
    """Separates a recording and writes a file for each speaker, 32-bit float WAV at the model's sample rate.

    The scale of a model's estimate is arbitrary (SI-SDR ignores it), so every estimate is scaled by the factor with
    which it explains most of the mixture, one factor for the whole file. If a peak would then exceed 1, which players
    clip, all estimates are scaled by one factor so that the peak is 0.99.

    With ``active_db`` only active estimates are written, in the model's order and numbered from 1. Their levels are
    compared as the model gave them, over the whole recording: a speaker who pauses in a window is one all the same.

    Each file is written whole or not at all. Meanwhile the disk holds the estimates twice.

    Args:
        forward: the model, from :func:`~asteroid_stab.separation.chunks.model_forward`.
        audio: the opened recording.
        folder: output folder.
        windows: length and overlap of the windows.
        advance: called with the number of samples separated since its last call.
        active_db: level in dB relative to the mixture above which an estimate is a speaker; None writes all.

    Returns:
        The files' paths; none where no estimate is active.

    Raises:
        StabError: the recording is damaged, or the files cannot be written.
        ValueError: ``active_db`` is no number below 0.
    """
    if active_db is not None:
        check_active_db(active_db)
    try:
        with working_folder(folder) as place, ExitStack() as stack:
            outputs: list[sf.SoundFile] = []
            energy = inner = peak = np.zeros(0)
            whole = 0.0
            for piece in separate_blocks(forward, audio.blocks(), audio.n_samples, windows, audio.sample_rate):
                if not outputs:
                    n_src = len(piece.estimates)
                    outputs = [stack.enter_context(_writer(place / f"raw{j}.wav", audio)) for j in range(n_src)]
                    energy, inner, peak = np.zeros((3, n_src))
                estimates, mixture = piece.estimates.astype(np.float64), piece.mixture.astype(np.float64)
                energy += np.square(estimates).sum(-1)
                whole += float(np.square(mixture).sum())
                inner += estimates @ mixture
                peak = np.maximum(peak, np.abs(estimates).max(-1))
                for output, estimate in zip(outputs, piece.estimates, strict=True):
                    output.write(estimate)
                advance(len(piece.mixture))
            stack.close()
            written = np.arange(len(energy))
            if active_db is not None:
                active = active_energies(torch.from_numpy(energy), torch.tensor(whole, dtype=torch.float64), active_db)
                written = written[active.numpy()]
            gain = np.divide(inner, energy, out=np.zeros_like(inner), where=energy > 0)
            highest = float((peak * np.abs(gain))[written].max(initial=0.0))
            if highest > 1:
                gain *= PEAK / highest
            for j in written:
                with _writer(place / f"{j}.wav", audio) as scaled:
                    for block in _blocks(place / f"raw{j}.wav"):
                        scaled.write(gain[j] * block)
            paths = [estimate_path(folder, audio.path, number) for number in range(1, len(written) + 1)]
            for j, path in zip(written, paths, strict=True):  # everything that needs space on the disk is done
                os.replace(place / f"{j}.wav", path)
    except (sf.LibsndfileError, OSError) as error:
        raise StabError(f"cannot write the estimates to {str(folder)!r}: {error}") from error
    return paths


def _writer(path: Path, audio: AudioInput) -> sf.SoundFile:
    kind = "RF64" if 4 * audio.n_samples > _WAV_BYTES else "WAV"
    return sf.SoundFile(path, "w", audio.sample_rate, 1, "FLOAT", format=kind)


def _blocks(path: Path) -> Iterator[np.ndarray]:
    with sf.SoundFile(path) as file:
        while len(block := file.read(_BLOCK, dtype="float32")):
            yield block
