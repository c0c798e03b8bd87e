"""How LibriMix makes a mixture of utterances: resampling, noise as long as needed, gains, clipping.

Everything here gives the samples that LibriMix's generator writes, before they are rounded to 16 bits.

References:
    - Cosentino, Pariente, Cornell, Deleforge, Vincent 2020, "LibriMix: An open-source dataset for
      generalizable speech separation", section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.signal import firwin, resample_poly

SOURCE_RATE = 16_000  # of LibriSpeech and of WHAM's noise as LibriMix takes it, Hz
_FADE = SOURCE_RATE // 2 + 1  # length of the cross-fade where a noise starts again, samples
HIGHEST_SAMPLE = 1.0 - 2.0**-15  # the highest sample that 16 bits hold; the lowest is -1


def _ratio(sample_rate: int, source_rate: int) -> tuple[int, int]:
    common = math.gcd(sample_rate, source_rate)
    return sample_rate // common, source_rate // common


def resampled_length(n_frames: int, sample_rate: int, source_rate: int = SOURCE_RATE) -> int:
    """Samples at ``sample_rate`` that ``n_frames`` samples at ``source_rate`` become.

    Example:
        >>> resampled_length(16_001, 8000)
        8001
    """
    up, down = _ratio(sample_rate, source_rate)
    return -(-n_frames * up // down)


@lru_cache(maxsize=8)
def _lowpass(up: int, down: int) -> np.ndarray:
    """The filter that ``scipy.signal.resample_poly`` designs for itself, at every call, for float32 input."""
    widest = max(up, down)
    return firwin(20 * widest + 1, 1.0 / widest, window=("kaiser", 5.0)).astype(np.float32)


def resampled_crop(
    read: Callable[[int, int], np.ndarray],
    n_frames: int,
    sample_rate: int,
    start: int,
    stop: int,
    source_rate: int = SOURCE_RATE,
) -> np.ndarray:
    """Samples ``[start, stop)`` of ``resample_poly(signal, sample_rate, source_rate)``.

    Only the input that they depend on is read.

    Args:
        read: gives samples ``[a, b)`` of the signal, at ``source_rate``.
        n_frames: length of the signal, at ``source_rate``.
        sample_rate: wanted, in Hz.
        start: first sample, at ``sample_rate``.
        stop: one past the last, at most ``resampled_length(n_frames, sample_rate, source_rate)``.
        source_rate: of the signal, in Hz.

    Returns:
        float32 ``[stop - start]``.

    Example:
        >>> x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
        >>> whole = resample_poly(x, 8000, 16_000)
        >>> part = resampled_crop(lambda a, b: x[a:b], 1000, 8000, 100, 300)
        >>> bool(np.array_equal(part, whole[100:300]))
        True
    """
    up, down = _ratio(sample_rate, source_rate)
    if up == down:
        return read(start, stop)
    # Output n hears the inputs m with |n * down - m * up| <= reach. The first input read is a multiple of
    # `down`, so that it coincides with an output.
    reach = 10 * max(up, down)
    first = max(0, (start * down - reach) // up // down * down)
    last = min(n_frames, -(-((stop - 1) * down + reach) // up) + 1)
    resampled = resample_poly(read(first, last), up, down, window=_lowpass(up, down))
    offset = first // down * up
    return resampled[start - offset : stop - offset]


def extend_noise(noise: np.ndarray, n_frames: int) -> np.ndarray:
    """``noise`` repeated to ``n_frames`` samples, float32, each repetition cross-faded with the one before.

    The fades are the halves of a Hann window of one second at 16 kHz.

    Args:
        noise: ``[N]``, at 16 kHz.
        n_frames: length wanted.

    Raises:
        ValueError: the noise is not longer than the cross-fade, so that repeating it would not lengthen it.
    """
    if len(noise) >= n_frames:
        return noise[:n_frames]
    if len(noise) <= _FADE:
        raise ValueError(f"noise must be longer than {_FADE} samples to be repeated, got {len(noise)}")
    hann = np.hanning(2 * _FADE - 1)
    rise, fall = hann[:_FADE], hann[_FADE - 1 :]
    step = len(noise) - _FADE
    n_more = -(-(n_frames - len(noise)) // step)
    extended = np.empty(len(noise) + n_more * step)
    extended[: len(noise)] = noise
    for repetition in range(1, n_more + 1):
        # What is faded out is everything so far: a noise shorter than two fades still carries the one
        # before it.
        begin = repetition * step
        seam = slice(begin, begin + _FADE)
        extended[seam] = extended[seam] * fall + noise[:_FADE] * rise
        extended[begin + _FADE : begin + len(noise)] = noise[_FADE:]
    return extended[:n_frames].astype(np.float32)


def clip_16_bit(samples: np.ndarray) -> np.ndarray:
    """``samples``, cut in place to the range that a 16-bit file holds, as a generated corpus has them.

    Example:
        >>> clip_16_bit(np.array([0.5, 1.5, -2.0])).tolist()
        [0.5, 0.999969482421875, -1.0]
    """
    if samples.size and (samples.max() > HIGHEST_SAMPLE or samples.min() < -1.0):
        np.clip(samples, -1.0, HIGHEST_SAMPLE, out=samples)
    return samples
