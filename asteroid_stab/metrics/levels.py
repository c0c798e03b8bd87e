"""Levels of estimates before somebody, or a program in his place, hears them: SI-SDR leaves them open."""

from __future__ import annotations

import numpy as np

_LEAST = 1e-6  # norm of an estimate relative to its source's below which there is nothing to hear: -120 dB


def matched(estimates: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Returns estimates with the loudness and the sign of their sources.

    The estimate of a silent source, and one that is as good as silent, keeps its own.

    Args:
        estimates: ``estimates[j]`` is the estimate of source j.
        sources: true sources.

    Shapes:
        - estimates and sources [J, T]; returns the same.

    Example:
        >>> matched(np.array([[5.0, -5.0], [3.0, 3.0], [7.0, 7.0]]), np.array([[-1.0, 1.0], [6.0, 6.0], [0.0, 0.0]]))
        array([[-1.,  1.],
               [ 6.,  6.],
               [ 7.,  7.]])
    """
    norm = np.linalg.norm(estimates, axis=-1, keepdims=True)
    target = np.linalg.norm(sources, axis=-1, keepdims=True)
    audible = (target > 0) & (norm > _LEAST * target)
    scale = np.divide(target, norm, out=np.ones_like(norm), where=audible)
    sign = np.where(audible, (estimates * sources).sum(-1, keepdims=True), 1.0)
    return estimates * np.copysign(scale, sign)


def below_full_scale(signal: np.ndarray) -> np.ndarray:
    """Returns a signal [T] whose peak is at most 1: the same, or a quieter one.

    Example:
        >>> below_full_scale(np.array([0.5, -4.0])), below_full_scale(np.array([0.5, 0.0]))
        (array([ 0.125, -1.   ]), array([0.5, 0. ]))
    """
    return signal / max(1.0, float(np.abs(signal).max(initial=0.0)))
