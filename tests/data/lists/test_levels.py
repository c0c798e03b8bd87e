"""Loudness and gains: LibriMix's ranges, and its rules against clipping."""

import math
import random

import numpy as np
import pyloudnorm
import pytest

from asteroid_stab.data.lists.levels import Level, draw_gains, measure

LOUD = Level(loudness=-20.0, peak=0.5)


def no_mix(gains):
    raise AssertionError("peaks alone rule clipping out")


def loudness(level, gain):
    return level.loudness + 20 * math.log10(gain)


def test_measure_is_pyloudnorm_without_its_warnings(recwarn):
    signal = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    level = measure(signal)
    assert level.loudness == pyloudnorm.Meter(16_000).integrated_loudness(signal)
    assert level.peak == np.abs(signal).max()
    assert measure(np.zeros(8000)) == Level(-math.inf, 0.0)
    assert measure(1e-6 * signal).loudness == -math.inf  # below the absolute gate of -70 LUFS
    assert not recwarn.list


def test_speech_and_noise_are_uniform_in_their_ranges():
    drawn = [draw_gains([LOUD, LOUD, LOUD], 2, random.Random(i), no_mix) for i in range(400)]
    for k, (low, high) in enumerate([(-33, -25), (-33, -25), (-38, -30)]):
        values = np.sort([loudness(LOUD, gains.values[k]) for gains in drawn])
        np.testing.assert_allclose(values, np.linspace(low, high, 400), atol=0.8)
        assert low <= values[0] <= values[-1] <= high
    assert {(gains.n_clipped, gains.mixture_clipped) for gains in drawn} == {(0, False)}


def test_a_source_that_would_clip_is_taken_to_its_peak():
    spiky = Level(loudness=-40.0, peak=0.5)  # at -33 LUFS its peak is 1.1 at least
    gains = draw_gains([spiky, Level(-30.0, 0.0)], 2, random.Random(0), no_mix)
    assert gains.values[0] * spiky.peak == pytest.approx(0.9)
    assert -33 <= loudness(Level(-30.0, 0.0), gains.values[1]) <= -25
    assert (gains.n_clipped, gains.mixture_clipped) == (1, False)


def test_a_mixture_that_would_clip_is_turned_down_as_a_whole():
    peaky = Level(loudness=-30.0, peak=0.5)  # peaks of 0.35 to 0.89 at -33 to -25 LUFS
    signal = np.array([0.5, -0.1])
    for i in range(50):
        gains = draw_gains([peaky, peaky], 2, random.Random(i), lambda gains: sum(gains) * signal)
        separate = draw_gains([peaky._replace(peak=0.1)] * 2, 2, random.Random(i), no_mix).values
        peak = sum(separate) * 0.5
        assert gains.mixture_clipped == (peak > 0.9)
        scale = 0.9 / peak if peak > 0.9 else 1.0
        np.testing.assert_allclose(gains.values, np.array(separate) * scale)


def test_a_mixture_whose_peaks_do_not_meet_stays():
    peaky = Level(loudness=-30.0, peak=0.5)
    seen = {draw_gains([peaky] * 3, 3, random.Random(0), lambda gains: np.array([0.9])).mixture_clipped}
    assert seen == {False}


def test_silent_noise_keeps_its_samples():
    gains = draw_gains([LOUD, Level(-math.inf, 0.0)], 1, random.Random(0), no_mix)
    assert gains.values[1] == 1.0
