"""How far speakers lie apart: levels and pitches of signals that are known."""

import math

import numpy as np
import pytest

from asteroid_stab.metrics.speakers import level_difference, pitch, pitch_distance

RATE = 8000
TIME = np.arange(RATE) / RATE


def voice(hz, rate=RATE):
    """A buzz with a hundred harmonics, as vocal folds make it, of a loudness that rises and falls."""
    time = np.arange(rate) / rate
    harmonics = sum(np.cos(2 * np.pi * k * hz * time) / k for k in range(1, 101) if k * hz < rate / 2)
    return harmonics * np.sin(np.pi * time)


@pytest.mark.parametrize("rate", [8000, 16_000])
@pytest.mark.parametrize("hz", [70, 90, 120, 160, 200, 240, 300])
def test_the_pitch_of_a_voice(hz, rate):
    assert pitch(voice(hz, rate), rate) == pytest.approx(hz, rel=0.03)


def test_noise_and_pauses_do_not_change_the_pitch():
    noisy = voice(150) + 0.02 * np.random.default_rng(0).standard_normal(RATE)
    assert pitch(np.concatenate([noisy, np.zeros(RATE), 1e-3 * voice(90)]), RATE) == pytest.approx(150, rel=0.03)


@pytest.mark.parametrize(
    "signal",
    [np.zeros(RATE), np.random.default_rng(0).standard_normal(RATE), voice(100)[:100], np.zeros(0)],
    ids=["silent", "noise", "short", "empty"],
)
def test_no_pitch(signal):
    assert math.isnan(pitch(signal, RATE))


def test_the_closest_pair_counts():
    voices = np.stack([voice(hz) for hz in (100, 240, 120)])
    assert pitch_distance(voices, RATE) == pytest.approx(12 * math.log2(1.2), abs=0.4)
    assert math.isnan(pitch_distance(voices[:1], RATE))
    assert math.isnan(pitch_distance(np.stack([voices[0], np.zeros(RATE)]), RATE))


def test_levels():
    voices = np.stack([voice(100), 10 * voice(100), 0.5 * voice(100)])
    assert level_difference(voices) == pytest.approx(20 * math.log10(20))
    assert math.isnan(level_difference(voices[:1]))
    assert math.isnan(level_difference(np.stack([voices[0], np.zeros(RATE)])))
    assert math.isnan(level_difference(np.stack([voices[0], np.full(RATE, np.inf)])))
