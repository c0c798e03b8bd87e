import warnings

import fast_bss_eval
import mir_eval
import numpy as np
import pytest

from asteroid_stab.metrics.bss_eval import FILTER_LENGTH, IllConditionedError, bss_eval, reference_bss_eval


def slow_share(spanned, signal, filter_length):
    """Share of a signal's energy in the span of the delayed signals, by least squares on the explicit matrix."""
    n_samples = len(signal) + filter_length - 1
    columns = []
    for x in spanned:
        for delay in range(filter_length):
            column = np.zeros(n_samples)
            column[delay : delay + len(x)] = x
            columns.append(column)
    matrix = np.stack(columns, 1)
    padded = np.concatenate([signal, np.zeros(filter_length - 1)])
    projection = matrix @ np.linalg.lstsq(matrix, padded, rcond=None)[0]
    return projection, padded


def slow_ratios(sources, estimate, j, filter_length):
    own, signal = slow_share(sources[j : j + 1], estimate, filter_length)
    every, _ = slow_share(sources, estimate, filter_length)
    ratio = [(own, signal - own), (own, every - own), (every, signal - every)]
    with np.errstate(divide="ignore"):  # of a single source nothing interferes
        return [10 * np.log10((a**2).sum() / (b**2).sum()) for a, b in ratio]


def separated(n_src, n_samples, leak=0.2, noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    sources = rng.standard_normal((n_src, n_samples)) * rng.uniform(0.2, 3, (n_src, 1))
    estimates = sources + leak * np.roll(sources, 1, 0) + noise * rng.standard_normal(sources.shape)
    return sources, estimates, sources.sum(0) + 0.1 * rng.standard_normal(n_samples)


@pytest.mark.parametrize("n_src", [1, 2, 3])
def test_against_least_squares(n_src):
    sources, estimates, mixture = separated(n_src, 200, leak=0.2 * (n_src > 1))
    output, given = bss_eval(sources, estimates, mixture, filter_length=12)
    for j in range(n_src):
        for found, signal in ((output, estimates[j]), (given, mixture)):
            sdr, sir, sar = slow_ratios(sources, signal, j, 12)
            assert found.sdr[j] == pytest.approx(sdr, abs=1e-6)
            assert found.sar[j] == pytest.approx(sar, abs=1e-6)
            if n_src > 1:
                assert found.sir[j] == pytest.approx(sir, abs=1e-6)
            else:
                assert found.sir[j] == pytest.approx(100, abs=1e-3)


@pytest.mark.parametrize("noise_db", [20, 0, -30, -60, -80])
def test_against_both_references(noise_db):
    sources, estimates, mixture = separated(3, 6000, leak=0.3 * 10 ** (noise_db / 40), noise=10 ** (noise_db / 20))
    output, given = bss_eval(sources, estimates, mixture)
    for found, reference in zip((output, given), reference_bss_eval(sources, estimates, mixture), strict=True):
        for ours, theirs in zip(found, reference, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=0.01)
    own, every = fast_bss_eval.numpy.square_cosine_metrics(sources, estimates)  # shares of energy, [J_src, J_est]
    for ours, share in zip(output, (own, own / every, every), strict=True):
        np.testing.assert_allclose(ours, 10 * np.log10(share / (1 - share)).diagonal(), atol=0.01)


def test_what_is_beyond_100_db_is_100_db():
    sources, _, _ = separated(2, 4000)
    estimates = sources * np.array([[3.0], [-0.1]])
    output, given = bss_eval(sources, estimates, sources.sum(0))
    np.testing.assert_allclose(np.stack(output), 100, atol=1e-3)
    np.testing.assert_allclose(given.sar, 100, atol=1e-3)
    assert (given.sdr < 20).all()


def test_scales_do_not_matter():
    sources, estimates, mixture = separated(3, 3000)
    scales = np.array([[1e-3], [1.0], [1e4]])
    before, after = bss_eval(sources, estimates, mixture), bss_eval(scales * sources, estimates / scales, 5 * mixture)
    np.testing.assert_allclose(np.array(before), np.array(after), atol=1e-6)


def ill_conditioned():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2, 16_000))
    time = np.arange(16_000) / 8000
    tones = np.stack([np.sin(2 * np.pi * 440 * time), np.sin(2 * np.pi * 550 * time)])
    return {
        "copies": np.stack([noise[0], noise[0]]),
        "scaled copies": np.stack([noise[0], -3 * noise[0]]),
        "tones": tones,
        "as short as the filter": noise[:, :FILTER_LENGTH],
        "shorter than the filter": noise[:, :300],
    }


@pytest.mark.parametrize("name", ill_conditioned())
def test_ill_conditioned_sources_are_refused(name):
    sources = ill_conditioned()[name]
    with pytest.raises(IllConditionedError, match=r"\d"):
        bss_eval(sources, sources + 0.1, sources.sum(0))


def test_reference_that_cannot_either(monkeypatch):
    def fail(*args, **kwargs):
        raise np.linalg.LinAlgError("Singular matrix")

    sources, estimates, mixture = separated(2, 1000)
    monkeypatch.setattr(mir_eval.separation.np.linalg, "solve", fail)
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        reference_bss_eval(sources, estimates, mixture)


def test_reference_is_quiet_about_its_end():
    sources, estimates, mixture = separated(2, 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reference_bss_eval(sources, estimates, mixture)
