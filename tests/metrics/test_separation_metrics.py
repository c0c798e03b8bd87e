from itertools import permutations

import numpy as np
import pytest
import torch
from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr
from asteroid.metrics import get_metrics

from asteroid_stab.metrics import separation_metrics
from asteroid_stab.metrics.names import STANDARD
from asteroid_stab.metrics.separation_metrics import MetricError, assign, measure, pesq, si_sdr
from bench.evaluate import make_items
from bench.speech_samples import speech_like, spoken_sources, synthetic_sources

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def assert_agrees(item, sample_rate):
    reference = get_metrics(
        item.mixture[None], item.sources, item.estimates, sample_rate=sample_rate, compute_permutation=True
    )
    measured = measure(item.mixture, item.sources, item.estimates, sample_rate)
    assert measured.failures == {}
    assert measured.fallback == ""
    for name, value in reference.items():
        tolerance = 0.01 if name.removeprefix("input_") in ("si_sdr", "sdr", "sir", "sar") else 1e-6
        assert measured.values[name] == pytest.approx(min(value, 100.0), abs=tolerance), name
    for metric in STANDARD:
        gain = measured.values[metric] - measured.values[f"input_{metric}"]
        assert measured.values[f"{metric}_i"] == pytest.approx(gain)


@pytest.mark.parametrize(("n_src", "sample_rate"), [(2, 8000), (3, 8000), (2, 16_000)])
def test_agrees_with_asteroid_on_real_speech(shared_data, n_src, sample_rate):
    folder = shared_data / "LibriSpeech" / "test-other"
    for item in make_items(spoken_sources(folder, 4 - n_src, n_src, sample_rate)):
        seconds = slice(0, 2 * sample_rate)
        assert_agrees(item._replace(**{k: getattr(item, k)[..., seconds] for k in item._fields[1:4]}), sample_rate)


def test_agrees_with_asteroid_on_synthetic_speech():
    for item in make_items(synthetic_sources(1, 2, 8000)):
        assert_agrees(item, 8000)


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_si_sdr_removes_the_mean_like_the_training_loss(offset):
    rng = np.random.default_rng(0)
    sources = rng.standard_normal((3, 4000)) + offset
    estimates = sources + 0.2 * rng.standard_normal((3, 4000)) - 2 * offset
    loss = pairwise_neg_sisdr(torch.from_numpy(estimates)[None], torch.from_numpy(sources)[None])[0]
    np.testing.assert_allclose(si_sdr(sources, estimates), -loss.diagonal(), atol=1e-6)


@pytest.mark.parametrize("n_src", [2, 3, 4, 5])
def test_assignment_is_the_one_of_training(n_src):
    rng = np.random.default_rng(n_src)
    wrapper = PITLossWrapper(pairwise_neg_sisdr)
    for _ in range(20):
        sources = rng.standard_normal((n_src, 200)) + rng.standard_normal((n_src, 1))
        estimates = rng.standard_normal((n_src, 200)) + 0.3 * sources[rng.permutation(n_src)]
        scores = {order: si_sdr(sources, estimates[list(order)]).mean() for order in permutations(range(n_src))}
        order = assign(sources, estimates)
        assert tuple(order) == max(scores, key=scores.get)
        _, reordered = wrapper(torch.from_numpy(estimates)[None], torch.from_numpy(sources)[None], return_est=True)
        np.testing.assert_array_equal(reordered[0].numpy(), estimates[order])


def test_assignment_of_many_sources():
    rng = np.random.default_rng(0)
    sources = rng.standard_normal((20, 500))
    order = rng.permutation(20)
    estimates = np.empty_like(sources)
    estimates[order] = sources + 0.5 * rng.standard_normal(sources.shape)
    np.testing.assert_array_equal(assign(sources, estimates), order)


def test_one_assignment_for_all_metrics():
    """Where mean SIR would choose another order (asteroid#509), SI-SDR's is kept for SDR, SIR and SAR too."""
    rng = np.random.default_rng(1)
    sources = rng.standard_normal((2, 3000))
    delayed = np.roll(sources, 100, axis=1)  # SI-SDR sees nothing of it, the 512-tap filters of SIR all
    estimates = 0.6 * sources + delayed[::-1]
    measured = measure(sources.sum(0), sources, estimates, 8000, ["si_sdr", "sir"])
    reference = get_metrics(
        sources.sum(0)[None], sources, estimates, metrics_list=["si_sdr", "sir"], compute_permutation=True
    )
    assert measured.perm.tolist() == [0, 1]
    assert measured.values["sir"] < 0 < reference["sir"]
    assert measured.values["si_sdr"] > reference["si_sdr"] + 10


def speech(n_src=2, seconds=1.5, seed=0):
    rng = np.random.default_rng(seed)
    sources = np.stack([speech_like(rng, round(8000 * seconds), 8000) for _ in range(n_src)])
    return sources.sum(0), sources, sources + 0.02 * rng.standard_normal(sources.shape)


def undefined(measured):
    return {name for name, value in measured.values.items() if np.isnan(value)}


def columns(*metrics):
    return {name for m in metrics for name in (f"input_{m}", m, f"{m}_i")}


def test_silent_source():
    mixture, sources, estimates = speech(3)
    sources[1] = 0.2  # a constant has no energy without its mean
    measured = measure(mixture, sources, estimates[[2, 0, 1]], 8000)
    assert undefined(measured) == columns(*STANDARD)
    assert measured.failures == dict.fromkeys(STANDARD, "silent source")
    assert measured.perm.tolist() == [1, 2, 0]  # the silent one takes what the others leave


@pytest.mark.parametrize("which", [0, 1, 2])
def test_samples_that_are_not_finite(which):
    signals = speech()
    signals[which][..., 7] = [np.nan, np.inf, -np.inf][which]
    name = ["mixture", "source", "estimate"][which]
    measured = measure(*signals, 8000)
    assert measured.failures == dict.fromkeys(STANDARD, f"{name} with samples that are not finite")
    assert undefined(measured) == columns(*STANDARD)


def test_silent_estimate():
    mixture, sources, estimates = speech()
    estimates[1] = 0
    measured = measure(mixture, sources, estimates, 8000)
    reference = float(np.mean(si_sdr(sources, estimates)))
    assert measured.values["si_sdr"] == pytest.approx(reference)
    assert measured.failures["sdr"] == "SDR: a silent estimate"
    assert measured.failures["pesq"] == "PESQ: a silent estimate"
    assert "stoi" not in measured.failures
    assert {"sdr", "sir", "sar", "pesq"} <= undefined(measured)


def test_short_signals():
    mixture, sources, estimates = speech(seconds=0.2)
    measured = measure(mixture, sources, estimates, 8000)
    assert measured.failures == {
        "stoi": "less than 400 ms of speech in a source",
        "pesq": "PESQ: Buffer needs to be at least 1/4 of a second long",
    }
    assert undefined(measured) == columns("stoi", "pesq")


def test_pesq_of_a_minute_and_more():
    with pytest.raises(MetricError, match=r"60\.5 s are longer than 60 s"):
        pesq(np.ones(484_000), np.ones(484_000), 8000)


def test_pesq_that_finds_no_speech():
    with pytest.raises(MetricError, match="No utterances detected"):
        pesq(np.zeros(16_000), np.ones(16_000), 8000)


def test_pesq_of_a_level_that_float32_has_not():
    _, sources, _ = speech()
    with pytest.raises(MetricError, match="PESQ: "):
        pesq(sources[0], 1e-60 * sources[0], 8000)


def test_pesq_fails_for_the_mixture_only(monkeypatch):
    mixture, sources, estimates = speech()
    real = separation_metrics.pesq

    def fails(source, estimate, sample_rate):
        if estimate is mixture or np.array_equal(estimate, mixture):
            raise MetricError("PESQ: no")
        return real(source, estimate, sample_rate)

    monkeypatch.setattr(separation_metrics, "pesq", fails)
    measured = measure(mixture, sources, estimates, 8000, ["pesq"])
    assert undefined(measured) == {"input_pesq", "pesq_i"}
    assert measured.failures == {"pesq": "PESQ: no"}


def test_ill_conditioned_sources_go_to_the_reference():
    time = np.arange(8000) / 8000
    sources = np.stack([np.sin(2 * np.pi * 440 * time), np.sin(2 * np.pi * 550 * time)])
    estimates = sources + 0.1 * sources[::-1] + 0.01 * np.random.default_rng(0).standard_normal(sources.shape)
    mixture = sources.sum(0)
    measured = measure(mixture, sources, estimates, 8000, ["sdr", "sir", "sar"])
    reference = get_metrics(mixture[None], sources, estimates, metrics_list=["sdr", "sir", "sar"])
    assert measured.fallback != ""
    assert measured.failures == {}
    for name, value in reference.items():
        assert measured.values[name] == pytest.approx(min(value, 100.0), abs=0.01), name


def test_singular_even_for_the_reference(monkeypatch):
    def fail(*signals):
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(separation_metrics, "reference_bss_eval", fail)
    source = speech(1)[1][0]
    measured = measure(source, np.stack([source, source]), np.stack([source, source]), 8000, ["si_sdr", "sdr"])
    assert measured.failures == {"sdr": "SDR: Singular matrix"}
    assert undefined(measured) == columns("sdr")


def test_arguments():
    mixture, sources, estimates = speech()
    with pytest.raises(ValueError, match=r"\[T\] and \[J, T\], got \[12000\], \[2, 11999\]"):
        measure(mixture, sources[:, 1:], estimates, 8000)
    with pytest.raises(ValueError, match=r"shape \[2, 12000\], got \[1, 12000\]"):
        measure(mixture, sources, estimates[:1], 8000)
    with pytest.raises(ValueError, match="got 'si_snr'"):
        measure(mixture, sources, estimates, 8000, ["si_snr"])
    with pytest.raises(ValueError, match="8000 or 16000 for PESQ, got 44100"):
        measure(mixture, sources, estimates, 44_100)
    assert set(measure(mixture, sources, estimates, 44_100, ["stoi"]).values) == columns("stoi")


def test_one_source_has_no_sir():
    rng = np.random.default_rng(0)
    source = rng.standard_normal((1, 4000))
    noisy = source + 0.1 * rng.standard_normal((1, 4000))
    measured = measure(noisy[0], source, noisy, 8000, ["si_sdr", "sdr", "sir", "sar"])
    assert measured.failures == {"sir": "one source, which no other interferes with"}
    assert np.isnan([measured.values[name] for name in ("sir", "input_sir", "sir_i")]).all()
    assert 15 < measured.values["sdr"] < 25
