"""How far the speakers of a mixture lie apart: in level and in pitch."""

from __future__ import annotations

import numpy as np
import torch

PITCH_HZ = (60, 400)  # of speaking voices
_FRAME_S, _HOP_S = 0.04, 0.01
_LOUD = 0.01  # of the loudest frame's power: softer frames are pauses
_PERIODIC = 0.1  # the difference, of a frame and itself a period later, below which it counts as periodic


def level_difference(sources: np.ndarray) -> float:
    """Level of the loudest source over the softest one's, in dB; ``nan`` with one source or a silent one.

    Args:
        sources: [J, T].

    Example:
        >>> tone = np.sin(np.arange(800.0))
        >>> round(level_difference(np.stack([tone, 0.1 * tone])), 6)
        20.0
    """
    power = np.mean(np.square(sources, dtype=np.float64), axis=1)
    if len(power) < 2 or not (np.isfinite(power).all() and power.min() > 0):
        return float("nan")
    return float(10 * np.log10(power.max() / power.min()))


def pitch(source: np.ndarray, sample_rate: int) -> float:
    """Median pitch of a voice over its loud and periodic frames, in Hz; ``nan`` where there is none.

    The pitch of a frame is YIN's: the shortest period at which the normalised difference of the signal and itself a
    period later has a minimum below 0.1. torchaudio's ``detect_pitch_frequency`` takes the double period of high
    voices, and librosa is no requirement of this package.

    Args:
        source: [T].
        sample_rate: in Hz.

    Example:
        >>> voice = np.sign(np.sin(2 * np.pi * 200 * np.arange(16_000) / 8000))
        >>> round(pitch(voice, 8000))
        200

    References:
        de Cheveigné, Kawahara, "YIN, a fundamental frequency estimator for speech and music", Journal of the Acoustical
        Society of America, 2002, steps 1 to 4 (eq. 6 and 8).
    """
    shortest, longest = (round(sample_rate / hz) for hz in reversed(PITCH_HZ))
    frame, hop = round(_FRAME_S * sample_rate), round(_HOP_S * sample_rate)
    if source.shape[-1] < frame or not np.any(source):
        return float("nan")
    signal = torch.from_numpy(np.ascontiguousarray(source, dtype=np.float32))
    frames = signal.unfold(-1, frame, hop)
    power = frames.square().mean(-1)
    frames = frames[power >= _LOUD * power.max()]
    n = frame - longest  # samples that are compared
    difference = torch.stack(
        [(frames[:, :n] - frames[:, lag : lag + n]).square().sum(-1) for lag in range(1, longest + 1)], 1
    )  # eq. (6)
    lags = torch.arange(1, longest + 1)
    normed = difference * lags / difference.cumsum(1).clamp_min(torch.finfo(difference.dtype).tiny)  # eq. (8)
    inner = normed[:, shortest - 1 : -1]  # of the lags that may be periods and have a neighbour on each side
    minimum = (inner < _PERIODIC) & (inner <= normed[:, shortest - 2 : -2]) & (inner <= normed[:, shortest:])
    periods = shortest + minimum.to(torch.int8).argmax(1)[minimum.any(1)]  # the first one
    return float(sample_rate / periods.float().median()) if len(periods) else float("nan")


def pitch_distance(sources: np.ndarray, sample_rate: int) -> float:
    """Distance of the two voices whose pitches lie closest, in semitones; ``nan`` with one voice or a silent one.

    Args:
        sources: [J, T].
        sample_rate: in Hz.

    Example:
        >>> time = np.arange(16_000) / 8000
        >>> voices = np.stack([np.sign(np.sin(2 * np.pi * hz * time)) for hz in (100, 200)])
        >>> round(pitch_distance(voices, 8000))
        12
    """
    pitches = np.sort([pitch(source, sample_rate) for source in sources])
    if len(pitches) < 2 or np.isnan(pitches).any():
        return float("nan")
    return float(12 * np.log2(pitches[1:] / pitches[:-1]).min())
