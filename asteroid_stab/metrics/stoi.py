"""STOI and ESTOI of matched pairs: the values of pystoi, each signal analysed once and no loop over frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import gcd

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pystoi.stoi import BETA, DYN_RANGE, FS, N_FRAME, NFFT, OBM, N
from pystoi.utils import EPS, resample_oct
from scipy import fft

from asteroid_stab.metrics.names import INTELLIGIBILITY

_HOP = N_FRAME // 2
_HANN = np.hanning(N_FRAME + 2)[1:-1]
_MAX_DOWN = 500  # 44.1 kHz has 441; with more, the matrix of a block costs more time than it saves
_CLIP = 1 + 10 ** (-BETA / 20)


def stoi(
    sources: np.ndarray, estimates: np.ndarray, mixture: np.ndarray, sample_rate: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the short-time objective intelligibility of every estimate, and of the mixture against every source.

    Higher is better, 1 is the best. The values equal the results of ``pystoi.stoi`` up to rounding.

    Args:
        sources: true sources.
        estimates: ``estimates[j]`` is the estimate of source j.
        mixture: the mixture.
        sample_rate: in Hz; STOI is defined at 10 kHz, to which all signals are resampled.

    Returns:
        Scores of the estimates and of the mixture; ``nan`` where a source has less than 400 ms that are not silent.
        There pystoi warns and returns 1e-5, which is not a measurement.

    Shapes:
        - sources, estimates [J, T]; mixture [T]; returns two [J].

    Example:
        >>> rng = np.random.default_rng(0)
        >>> sources, noise = rng.standard_normal((2, 3, 16000))
        >>> output, given = stoi(sources, sources + 0.5 * noise, sources.sum(0), 16000)
        >>> output.round(1), given.round(1)
        (array([0.8, 0.8, 0.8]), array([0.3, 0.3, 0.4]))

    References:
        Taal, Hendriks, Heusdens, Jensen, "An algorithm for intelligibility prediction of time-frequency
        weighted noisy speech", 2011, eq. 1 to 6.
    """
    return intelligibility(sources, estimates, mixture, sample_rate, ["stoi"])["stoi"]


def intelligibility(
    sources: np.ndarray, estimates: np.ndarray, mixture: np.ndarray, sample_rate: int, kinds: Sequence[str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns what :func:`stoi` returns, of STOI and of its extended form, ESTOI, by name.

    ESTOI compares all bands of a window together, so that it follows noise that comes and goes, as other speakers do.

    Args:
        sources: true sources.
        estimates: ``estimates[j]`` is the estimate of source j.
        mixture: the mixture.
        sample_rate: in Hz.
        kinds: of :data:`~asteroid_stab.metrics.names.INTELLIGIBILITY`.

    Shapes:
        - sources, estimates [J, T]; mixture [T]; returns two [J] for each kind.

    References:
        Jensen, Taal, "An algorithm for predicting the intelligibility of speech masked by modulated noise maskers",
        2016, eq. 3 to 8.
    """
    mixed = _frames(_resampled(mixture, sample_rate))
    found = {kind: np.full((2, len(sources)), np.nan) for kind in kinds}
    for j, (source, estimate) in enumerate(zip(sources, estimates, strict=True)):
        frames = _frames(_resampled(source, sample_rate))
        level_db = 20 * np.log10(np.linalg.norm(frames, axis=1) + EPS)
        spoken = level_db.max(initial=-np.inf) - DYN_RANGE < level_db
        if spoken.sum() <= N:  # the frames are overlapped and cut again, which leaves one frame less
            continue
        reference = _windows(_bands(frames[spoken]))
        others = [_windows(_bands(x[spoken])) for x in (_frames(_resampled(estimate, sample_rate)), mixed)]
        for kind, values in found.items():
            score = _SCORES[kind](reference)
            values[:, j] = [score(windows) for windows in others]
    return {kind: (values[0], values[1]) for kind, values in found.items()}


def _clipped(reference: np.ndarray) -> Callable[[np.ndarray], float]:
    """Returns the STOI of windows beside their source's: the mean correlation of each band (eq. 5 and 6)."""
    energy = np.einsum("bwn,bwn->bw", reference, reference)
    target = reference - reference.mean(axis=-1, keepdims=True)
    target /= np.linalg.norm(target, axis=-1, keepdims=True) + EPS
    limit = reference * _CLIP

    def score(windows: np.ndarray) -> float:
        own = np.sqrt(np.einsum("bwn,bwn->bw", windows, windows))
        # Each window gets the energy of the source (eq. 3), and is clipped (eq. 4).
        scaled = windows * (np.sqrt(energy) / (own + EPS))[..., None]
        np.minimum(scaled, limit, out=scaled)
        scaled -= scaled.mean(axis=-1, keepdims=True)
        norm = np.sqrt(np.einsum("bwn,bwn->bw", scaled, scaled)) + EPS
        return float((np.einsum("bwn,bwn->bw", scaled, target) / norm).mean())

    return score


def _extended(reference: np.ndarray) -> Callable[[np.ndarray], float]:
    """Returns the ESTOI of windows beside their source's: the mean product of their normalised frames (eq. 7, 8)."""
    target = _normalised(reference)

    def score(windows: np.ndarray) -> float:
        return float(np.einsum("bwn,bwn->", _normalised(windows), target) / (N * windows.shape[1]))

    return score


_SCORES = dict(zip(INTELLIGIBILITY, (_clipped, _extended), strict=True))


def _normalised(windows: np.ndarray) -> np.ndarray:
    """Returns windows [15, w, 30] with mean 0 and norm 1 over the time of each band, then over the bands of each frame.

    pystoi adds random numbers as small as its EPS in place of the EPS here.
    """
    for axis in (-1, 0):
        windows = windows - windows.mean(axis=axis, keepdims=True)
        windows /= np.linalg.norm(windows, axis=axis, keepdims=True) + EPS
    return windows


def _resampled(signal: np.ndarray, sample_rate: int) -> np.ndarray:
    """Resamples a signal to 10 kHz as pystoi does, by one product of matrices, which takes a quarter of the time."""
    signal = np.asarray(signal, dtype=np.float64)
    if sample_rate == FS:
        return signal
    if sample_rate // gcd(FS, sample_rate) > _MAX_DOWN:
        return resample_oct(signal, FS, sample_rate)
    response, reach, step = _resampling(sample_rate)
    n_blocks = -(-len(signal) // step)
    padded = np.zeros(n_blocks * step + 2 * reach)
    padded[reach : reach + len(signal)] = signal
    blocks = np.ascontiguousarray(sliding_window_view(padded, step + 2 * reach)[::step])
    return (blocks @ response).reshape(-1)[: -(-len(signal) * FS // sample_rate)]


@lru_cache(maxsize=8)
def _resampling(sample_rate: int) -> tuple[np.ndarray, int, int]:
    """Returns a matrix that resamples a block of samples to 10 kHz, with ``reach`` and ``step``.

    The block has ``step`` samples and ``reach`` more on either side. The matrix [step + 2 reach, n_out] holds the
    response of ``resample_oct`` to every unit impulse. Its filter spans 36.3 samples of the lower rate to either side
    (60 dB in a tenth of the band, Kaiser's formula).
    """
    common = gcd(FS, sample_rate)
    up, down = FS // common, sample_rate // common
    reach = -(-37 * max(up, down) // (up * down)) * down  # a multiple of down: blocks begin on an output sample
    step = 2 * reach
    response = resample_oct(np.eye(step + 2 * reach), FS, sample_rate).T
    return np.ascontiguousarray(response[:, reach * up // down : (reach + step) * up // down]), reach, step


def _frames(signal: np.ndarray) -> np.ndarray:
    """Returns windowed frames [n, 256]; like pystoi, without a frame that ends with the last sample."""
    if len(signal) <= N_FRAME:
        return np.empty((0, N_FRAME))
    return sliding_window_view(signal, N_FRAME)[: len(signal) - N_FRAME : _HOP] * _HANN


def _bands(frames: np.ndarray) -> np.ndarray:
    """Returns magnitudes [15, n - 1] in third-octave bands (eq. 1) of the signal that the overlapped frames make."""
    blocks = np.zeros((len(frames) + 1, _HOP))
    blocks[:-1] = frames[:, :_HOP]
    blocks[1:] += frames[:, _HOP:]
    spectrum = fft.rfft(_frames(blocks.reshape(-1)), NFFT)
    return np.sqrt(OBM @ (spectrum.real**2 + spectrum.imag**2).T)


def _windows(bands: np.ndarray) -> np.ndarray:
    """Returns all runs of 30 frames, [15, w, 30]."""
    return sliding_window_view(bands, N, axis=1)
