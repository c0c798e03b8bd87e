"""Metrics of mixtures of which some sources are silent."""

import numpy as np
import pytest

from asteroid_stab.metrics.inactive import measure_active
from asteroid_stab.metrics.separation_metrics import assign, measure
from bench.speech_samples import speech_like

METRICS = ("si_sdr", "sdr", "sir", "sar", "stoi")


@pytest.fixture(scope="module")
def signals():
    rng = np.random.default_rng(0)
    sources = np.stack([speech_like(rng, 8000, 8000) for _ in range(4)])
    return sources, sources[[2, 3, 1, 0]] + 0.1 * sources.std() * rng.standard_normal(sources.shape)


def test_active_sources_are_measured_as_if_alone(signals):
    sources, estimates = signals[0].copy(), signals[1]
    sources[[0, 2]] = 0
    found = measure_active(sources.sum(0), sources, estimates, 8000, METRICS)
    wanted = measure(sources.sum(0), sources[[1, 3]], estimates[[2, 1]], 8000, METRICS)
    assert found.perm.tolist() == [0, 2, 3, 1]  # silent ones share the rest in ascending order
    assert found.values == wanted.values
    np.testing.assert_array_equal(found.sources["si_sdr"][[1, 3]], wanted.sources["si_sdr"])
    assert np.isnan(found.sources["si_sdr"][[0, 2]]).all()


def test_a_source_alone_has_no_improvement_unless_there_is_noise(signals):
    sources, estimates = signals[0].copy(), signals[1]
    sources[1:] = 0
    clean = measure_active(sources.sum(0), sources, estimates, 8000, ["si_sdr", "stoi"])
    assert clean.values["si_sdr"] > 5
    assert np.isnan([clean.values[f"{kind}_i"] for kind in ("si_sdr", "stoi")]).all()
    assert np.isnan(clean.sources["si_sdr_i"]).all()
    noisy = measure_active(sources.sum(0) + signals[0][2], sources, estimates, 8000, ["si_sdr"])
    assert noisy.values["si_sdr_i"] == pytest.approx(noisy.values["si_sdr"] - noisy.values["input_si_sdr"])


def test_silence_alone_is_undefined_but_not_broken(signals):
    found = measure_active(np.zeros(8000), np.zeros((4, 8000)), signals[1], 8000, ["si_sdr"])
    assert found.failures == {"si_sdr": "all sources are silent"}
    assert np.isnan(found.values["si_sdr"])
    assert not found.broken


def test_silent_sources_take_estimates_in_ascending_order(signals):
    sources = signals[0].copy()
    sources[[0, 1, 3]] = 0
    assert assign(sources, signals[1]).tolist() == [1, 2, 0, 3]
