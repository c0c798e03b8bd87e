"""Pictures of sounds."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import matplotlib
import numpy as np
import soundfile as sf
from matplotlib.image import imsave
from scipy.signal import stft

PICTURE_SIZE = (128, 320)  # rows (frequencies) and columns (frames) of a spectrogram, at most
WINDOW_S = 0.032
TOP_DB, RANGE_DB = -22.0, 62.0  # the brightest level (loud speech of amplitude PEAK), and from there to black
PEAK = 0.9
WHOLE_S = 120.0  # a longer file is read a column at a time


def spectrogram(samples: np.ndarray, rate: int) -> bytes:
    """A JPEG of the level in dB: frequency upwards, time to the right, the same scale of brightness for all sounds.

    Args:
        samples: the sound, full range 1.
        rate: its sample rate, in Hz.

    Shapes:
        samples: [T].
    """
    columns = PICTURE_SIZE[1]
    n_fft = _n_fft(rate)
    step = min(max(1, max(len(samples), n_fft) // columns), n_fft // 2)
    power = _power(samples, n_fft, step)
    return _jpeg(_merged(power, columns, axis=1))


def file_spectrogram(path: Path, gain: float = 1.0) -> bytes:
    """A JPEG as :func:`spectrogram` makes it, of a sound file of one channel and any length.

    Args:
        path: the file.
        gain: factor of its samples.
    """
    with sf.SoundFile(path) as file:
        rate = file.samplerate
        if file.frames <= WHOLE_S * rate:
            return spectrogram(gain * file.read(dtype="float64"), rate)
        n_fft = _n_fft(rate)
        ends = np.linspace(0, file.frames, PICTURE_SIZE[1] + 1).astype(int)
        columns = [
            _power(gain * file.read(int(n_samples), dtype="float64"), n_fft, n_fft // 2).max(axis=1)
            for n_samples in np.diff(ends)
        ]
    return _jpeg(np.stack(columns, axis=1))


def data_uri(kind: str, content: bytes) -> str:
    """The address that holds a file itself; ``kind`` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _n_fft(rate: int) -> int:
    return int(2 ** round(np.log2(WINDOW_S * rate)))


def _power(samples: np.ndarray, n_fft: int, step: int) -> np.ndarray:
    """Power by frequency and frame, [F, L], without the constant part."""
    padded = np.pad(samples, (0, max(0, n_fft - len(samples))))
    _, _, frames = stft(padded, nperseg=n_fft, noverlap=n_fft - step, padded=False)
    return np.abs(frames[1:]) ** 2


def _merged(power: np.ndarray, wanted: int, axis: int) -> np.ndarray:
    """Merges surplus rows or columns by their maximum: leaving some out would skip sounds."""
    size = max(1, power.shape[axis] // wanted)
    return np.maximum.reduceat(power, np.arange(0, power.shape[axis], size), axis=axis)


def _jpeg(power: np.ndarray) -> bytes:
    power = _merged(power, PICTURE_SIZE[0], axis=0)
    level = np.clip((10 * np.log10(power + 1e-12) - TOP_DB + RANGE_DB) / RANGE_DB, 0, 1)
    jpeg = io.BytesIO()
    magma = matplotlib.colormaps["magma"]
    options = {"quality": 70}  # a fifth of a PNG's size
    imsave(jpeg, level, format="jpg", cmap=magma, vmin=0, vmax=1, origin="lower", pil_kwargs=options)
    return jpeg.getvalue()
