import warnings

import numpy as np
import pytest
from pystoi import stoi as pystoi

from asteroid_stab.metrics.stoi import intelligibility, stoi


def signals(n_samples, n_src=3, seed=0, silence=0.0):
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.uniform(0.01, 1, (n_src, 50)), n_samples // 50 + 1, axis=1)[:, :n_samples]
    sources = rng.standard_normal((n_src, n_samples)) * levels
    sources[:, : int(silence * n_samples)] *= 1e-4
    return sources, sources + 0.3 * rng.standard_normal(sources.shape), sources.sum(0)


@pytest.mark.parametrize("sample_rate", [8000, 9990, 10_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("silence", [0.0, 0.6])
def test_against_pystoi(sample_rate, silence):
    sources, estimates, mixture = signals(2 * sample_rate, silence=silence)
    output, given = stoi(sources, estimates, mixture, sample_rate)
    for j, source in enumerate(sources):
        assert output[j] == pytest.approx(pystoi(source, estimates[j], sample_rate), abs=1e-9)
        assert given[j] == pytest.approx(pystoi(source, mixture, sample_rate), abs=1e-9)


@pytest.mark.parametrize("sample_rate", [8000, 10_000, 16_000])
@pytest.mark.parametrize("silence", [0.0, 0.6])
def test_estoi_against_pystoi_beside_stoi(sample_rate, silence):
    sources, estimates, mixture = signals(2 * sample_rate, silence=silence)
    both = intelligibility(sources, estimates, mixture, sample_rate, ["stoi", "estoi"])
    alone = intelligibility(sources, estimates, mixture, sample_rate, ["estoi"])
    for found, reference in zip(both["stoi"], stoi(sources, estimates, mixture, sample_rate), strict=True):
        assert (found == reference).all()
    for j, source in enumerate(sources):
        assert both["estoi"][0][j] == pytest.approx(pystoi(source, estimates[j], sample_rate, True), abs=1e-9)
        assert alone["estoi"][1][j] == pytest.approx(pystoi(source, mixture, sample_rate, True), abs=1e-9)


@pytest.mark.parametrize("n_samples", range(3950, 4550, 50))
def test_too_short_just_where_pystoi_says_so(n_samples):
    """30 frames of 256 samples, hop 128, one of which the analysis loses at each of two passes."""
    sources, estimates, mixture = signals(n_samples, n_src=1)
    output, given = stoi(sources, estimates, mixture, 10_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = pystoi(sources[0], estimates[0], 10_000)
    if reference == 1e-5:
        assert np.isnan(output).all()
        assert np.isnan(given).all()
    else:
        assert output[0] == pytest.approx(reference, abs=1e-9)


def test_boundary_is_inside_the_range_above():
    lengths = {bool(np.isnan(stoi(*signals(n, n_src=1), 10_000)[0][0])) for n in range(3950, 4550, 50)}
    assert lengths == {True, False}


@pytest.mark.parametrize("n_samples", [1, 200, 256, 300])
def test_hardly_any_samples(n_samples):
    output, given = stoi(np.ones((2, n_samples)), np.ones((2, n_samples)), np.ones(n_samples), 10_000)
    assert np.isnan(output).all()
    assert np.isnan(given).all()


def test_silent_estimate_says_nothing():
    sources, estimates, mixture = signals(20_000, n_src=1)
    assert stoi(sources, 0 * estimates, mixture, 10_000)[0][0] == pytest.approx(0, abs=1e-6)


def test_only_the_short_source_is_undefined():
    sources, estimates, mixture = signals(20_000, n_src=2)
    sources[1, 2000:] = 0
    output, given = stoi(sources, estimates, mixture, 10_000)
    assert np.isnan(output).tolist() == [False, True]
    assert np.isnan(given).tolist() == [False, True]
