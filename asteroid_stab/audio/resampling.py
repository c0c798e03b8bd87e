"""Resampling as ``scipy.signal.resample_poly`` does it, of parts of a signal and without seams between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import numpy as np
from scipy.signal import firwin, resample_poly


def resampled_length(n_frames: int, sample_rate: int, source_rate: int) -> int:
    """Returns the number of samples at ``sample_rate`` that ``n_frames`` samples at ``source_rate`` become.

    Example:
        >>> resampled_length(16_001, 8000, 16_000)
        8001
    """
    up, down = _ratio(sample_rate, source_rate)
    return -(-n_frames * up // down)


def resampled_crop(
    read: Callable[[int, int], np.ndarray],
    n_frames: int,
    sample_rate: int,
    start: int,
    stop: int,
    source_rate: int,
) -> np.ndarray:
    """Returns samples ``[start, stop)`` of ``resample_poly(signal, sample_rate, source_rate)``.

    Only the input that they depend on is read.

    Args:
        read: gives samples ``[a, b)`` of the signal, ``[..., b - a]``, at ``source_rate``.
        n_frames: length of the signal, at ``source_rate``.
        sample_rate: wanted, in Hz.
        start: first sample, at ``sample_rate``.
        stop: one past the last, at most ``resampled_length(n_frames, sample_rate, source_rate)``.
        source_rate: of the signal, in Hz.

    Returns:
        ``[..., stop - start]``, of the signal's precision.

    Example:
        >>> x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
        >>> whole = resample_poly(x, 8000, 16_000)
        >>> part = resampled_crop(lambda a, b: x[a:b], 1000, 8000, 100, 300, 16_000)
        >>> bool(np.array_equal(part, whole[100:300]))
        True
    """
    up, down = _ratio(sample_rate, source_rate)
    if up == down:
        return read(start, stop)
    first, last = _heard(start, stop, up, down)
    signal = read(first, min(n_frames, last))
    resampled = resample_poly(signal, up, down, axis=-1, window=_lowpass(up, down, signal.dtype.char))
    offset = first // down * up
    return resampled[..., start - offset : stop - offset]


def resample_blocks(
    blocks: Iterable[np.ndarray], n_frames: int, sample_rate: int, source_rate: int
) -> Iterator[np.ndarray]:
    """Yields ``resample_poly(signal, sample_rate, source_rate)`` block by block, float32, computed in float64.

    Args:
        blocks: the signal ``[T]``, or signals ``[C, T]``, cut anywhere in time.
        n_frames: length of the signal, at ``source_rate``.
        sample_rate: wanted, in Hz.
        source_rate: of the signal, in Hz.

    Example:
        >>> signal = np.sin(np.arange(1000.0))
        >>> pieces = resample_blocks(np.array_split(signal, 7), 1000, 24_000, 16_000)
        >>> bool(np.array_equal(np.concatenate(list(pieces)), resample_poly(signal, 3, 2).astype(np.float32)))
        True
    """
    up, down = _ratio(sample_rate, source_rate)
    held, begin, done = np.empty(0), 0, 0  # input from sample `begin` on; number of samples yielded

    def read(start: int, stop: int) -> np.ndarray:
        return held[..., start - begin : stop - begin]

    for block in blocks:
        held = np.concatenate([held, block], axis=-1) if held.size else block.astype(np.float64)
        n_read = begin + held.shape[-1]
        if n_read >= n_frames:
            stop = resampled_length(n_frames, sample_rate, source_rate)
        else:  # the samples that hear nothing of what is not read yet
            stop = ((n_read - 1) * up - _reach(up, down)) // down + 1
        if stop > done:
            yield resampled_crop(read, n_frames, sample_rate, done, stop, source_rate).astype(np.float32)
            done = stop
            first, _ = _heard(done, done + 1, up, down)
            held, begin = held[..., first - begin :], first


def heard_input(start: int, stop: int, sample_rate: int, source_rate: int) -> tuple[int, int]:
    """Returns the first input, and one past the last, that :func:`resampled_crop` reads of a signal without end.

    Args:
        start: first sample, at ``sample_rate``.
        stop: one past the last.
        sample_rate: wanted, in Hz.
        source_rate: of the signal, in Hz.

    Example:
        >>> heard_input(100, 300, 8000, 8000), heard_input(100, 300, 8000, 16_000)
        ((100, 300), (180, 619))
    """
    up, down = _ratio(sample_rate, source_rate)
    return (start, stop) if up == down else _heard(start, stop, up, down)


def _ratio(sample_rate: int, source_rate: int) -> tuple[int, int]:
    common = math.gcd(sample_rate, source_rate)
    return sample_rate // common, source_rate // common


def _reach(up: int, down: int) -> int:
    """Distance over which an output hears inputs: output n hears the inputs m with ``|n * down - m * up| <= reach``."""
    return 10 * max(up, down)


def _heard(start: int, stop: int, up: int, down: int) -> tuple[int, int]:
    """First and one past the last input that outputs ``[start, stop)`` hear, as if the signal had no end.

    The first is a multiple of ``down``, so that it coincides with an output.
    """
    reach = _reach(up, down)
    return max(0, (start * down - reach) // up // down * down), -(-((stop - 1) * down + reach) // up) + 1


@lru_cache(maxsize=8)
def _lowpass(up: int, down: int, precision: str) -> np.ndarray:
    """The filter that ``scipy.signal.resample_poly`` designs for itself, at every call, for input of a precision."""
    widest = max(up, down)
    return firwin(20 * widest + 1, 1.0 / widest, window=("kaiser", 5.0)).astype(precision)
