"""Levels of the sources of a mixture: LibriMix's random loudness and its rule against clipping.

References:
    - Cosentino, Pariente, Cornell, Deleforge, Vincent 2020, "LibriMix: An open-source dataset for
      generalizable speech separation", section 3.1.
    - ITU-R BS.1770-4 for loudness in LUFS.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pyloudnorm

from asteroid_stab.audio.mixing import SOURCE_RATE

SPEECH_LUFS = (-33.0, -25.0)
NOISE_LUFS = (-38.0, -30.0)
MAX_AMPLITUDE = 0.9
MIN_SECONDS = 0.4  # the meter's block: a shorter signal has no loudness


class Level(NamedTuple):
    """Loudness of a signal in LUFS, minus infinity where it is silent, and its largest absolute sample."""

    loudness: float
    peak: float


class Gains(NamedTuple):
    """Factors of a mixture's sources, how many sources would have clipped, and whether the mixture would."""

    values: list[float]
    n_clipped: int
    mixture_clipped: bool


def measure(signal: np.ndarray) -> Level:
    """Measures loudness and peak of a signal of at least ``MIN_SECONDS``.

    Args:
        signal: ``[T]``, at 16 kHz.

    Example:
        >>> tone = 0.1 * np.sin(2 * np.pi * 997 / 16_000 * np.arange(32_000))
        >>> round(measure(tone).loudness)  # a full-scale sine of 997 Hz has -3 LUFS
        -23
        >>> measure(np.zeros(32_000))
        Level(loudness=-inf, peak=0.0)
    """
    with warnings.catch_warnings():
        # The mean over the blocks above the gate: a silent signal has no such block.
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning)
        warnings.filterwarnings("ignore", "divide by zero", RuntimeWarning)
        loudness = float(pyloudnorm.Meter(SOURCE_RATE).integrated_loudness(signal))
    return Level(loudness, float(np.abs(signal).max()))


def draw_gains(
    levels: Sequence[Level], n_src: int, rng: random.Random, mix: Callable[[Sequence[float]], np.ndarray]
) -> Gains:
    """Draws gains that bring each source to a random loudness, and keep it and the mixture from clipping.

    The loudness of speech is uniform from -33 to -25 LUFS, that of noise 5 lower. A source that would then reach 1
    gets a peak of 0.9 instead. If the mixture (mode max) exceeds 0.9, all its sources are turned down together to a
    peak of 0.9. These are LibriMix's rules. Its generator measures the loudness of utterances padded to the mixture's
    length, again after each step, and takes the gain from the difference; here an utterance is measured once, alone,
    and the gain is the factor itself. On LibriSpeech the two differ by 0.01 dB on average, and by 0.3 dB at most.

    Args:
        levels: of the sources, and last of the noise if there is one.
        n_src: sources that are speech.
        rng: source of randomness.
        mix: gives the mixture ``[T]`` for these gains; only called if the peaks alone do not rule clipping out.

    Example:
        >>> tones = [Level(-20.0, 0.5), Level(-30.0, 0.1)]
        >>> gains = draw_gains(tones, 2, random.Random(0), mix=lambda gains: np.zeros(1))
        >>> loudness = [tone.loudness + 20 * math.log10(g) for tone, g in zip(tones, gains.values)]
        >>> [-33 <= value <= -25 for value in loudness]
        [True, True]
    """
    values, n_clipped = [], 0
    for k, level in enumerate(levels):
        low, high = SPEECH_LUFS if k < n_src else NOISE_LUFS
        target = low + (high - low) * rng.random()
        if math.isinf(level.loudness):  # a silent stretch of noise has no loudness to change
            values.append(1.0)
            continue
        gain = 10.0 ** ((target - level.loudness) / 20.0)
        if gain * level.peak >= 1.0:
            gain, n_clipped = MAX_AMPLITUDE / level.peak, n_clipped + 1
        values.append(gain)
    if sum(gain * level.peak for gain, level in zip(values, levels, strict=True)) <= MAX_AMPLITUDE:
        return Gains(values, n_clipped, False)
    peak = float(np.abs(mix(values)).max())
    if peak <= MAX_AMPLITUDE:
        return Gains(values, n_clipped, False)
    return Gains([gain * MAX_AMPLITUDE / peak for gain in values], n_clipped, True)
