"""Levels of estimates before they are heard."""

import numpy as np
import pytest

from asteroid_stab.metrics.levels import below_full_scale, matched


def test_an_estimate_gets_loudness_and_sign_of_its_source():
    rng = np.random.default_rng(0)
    sources = rng.standard_normal((3, 50)) * np.array([[1.0], [0.1], [5.0]])
    found = matched(sources * np.array([[-7.0], [0.01], [1.0]]), sources)
    assert found == pytest.approx(sources)


def test_what_cannot_be_matched_keeps_its_level():
    estimates, sources = np.ones((2, 8)), np.zeros((2, 8))
    estimates[1], sources[1] = 1e-9, 1.0
    assert (matched(estimates, sources) == estimates).all()


@pytest.mark.parametrize(("peak", "left"), [(0.0, 0.0), (0.4, 0.4), (1.0, 1.0), (-8.0, -1.0)])
def test_a_peak_is_at_most_full_scale(peak, left):
    assert below_full_scale(np.array([0.0, peak]))[1] == left
    assert below_full_scale(np.zeros(0)).shape == (0,)
