"""Beamformers that are given the sources: other people's formulas, and gains that theory gives."""

import math

import numpy as np
import pytest
import torch

from asteroid_stab.metrics.names import ORACLES
from asteroid_stab.separation.beamforming import BEAMFORMERS, beamform, delay_and_sum, ideal_ratio_masks, mvdr

RATE = 8000


def si_sdr(estimate, target):
    estimate, target = estimate.double(), target.double()
    part = (estimate @ target) / (target @ target) * target
    return float(10 * torch.log10((part @ part) / ((estimate - part) @ (estimate - part))))


def plane_waves(delays, noise_db, seed=0, seconds=4.0):
    """Coloured noises in bursts from directions of their own, and white noise at each microphone.

    Args:
        delays: [J, C] in samples, of any fraction; the reference has 0.
        noise_db: level of the noise over the first source.

    Returns:
        Mixture [C, T] and sources [J, T] at the reference.
    """
    rng = np.random.default_rng(seed)
    n_src, n_mics, n = *np.shape(delays), int(seconds * RATE)
    dry = rng.standard_normal((n_src, n)) * (np.repeat(rng.uniform(0, 1, (n_src, n // 400)), 400, axis=1) > 0.4)
    spectra, turns = np.fft.rfft(dry), np.arange(n // 2 + 1) / n
    phases = np.exp(-2j * math.pi * turns * np.asarray(delays)[:, :, None])
    images = np.fft.irfft(spectra[:, None] * phases, n)
    noise = 10 ** (noise_db / 20) * dry[0].std() * rng.standard_normal((n_mics, n))
    return torch.tensor(images.sum(0) + noise).float(), torch.tensor(images[:, 0]).float()


def spectra(n_mics=4, n_bins=5, n_frames=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixture = torch.randn(n_mics, n_bins, n_frames, generator=generator, dtype=torch.complex128)
    return mixture, torch.rand(n_bins, n_frames, generator=generator, dtype=torch.float64)


def test_the_filter_is_soudens():
    """Written bin by bin: w = R_n^-1 R_s u / trace(R_n^-1 R_s)."""
    mixture, mask = spectra()
    found, heard = mvdr(mixture, mask).numpy(), mixture.numpy()
    for f, weight in enumerate(mask.numpy()):
        frames = heard[:, f]
        target = sum(w * np.outer(x, x.conj()) for w, x in zip(weight, frames.T, strict=True))
        other = sum((1 - w) * np.outer(x, x.conj()) for w, x in zip(weight, frames.T, strict=True))
        ratio = np.linalg.solve(other, target)
        np.testing.assert_allclose(found[f], (ratio[:, 0] / np.trace(ratio)).conj() @ frames, rtol=1e-4)


def test_the_filter_is_torchaudios():
    try:
        from torchaudio.functional import apply_beamforming, mvdr_weights_souden, psd
    except (ImportError, OSError) as error:  # one that is built for CUDA, beside a torch without it
        pytest.skip(f"torchaudio cannot be imported: {error}")
    mixture, mask = spectra()
    weights = mvdr_weights_souden(psd(mixture, mask), psd(mixture, 1 - mask), 0)
    torch.testing.assert_close(mvdr(mixture, mask), apply_beamforming(weights, mixture), rtol=1e-4, atol=1e-4)


def test_delay_and_sum_turns_every_microphone_to_the_reference():
    mixture, mask = spectra()
    found, heard = delay_and_sum(mixture, mask).numpy(), mixture.numpy()
    for f, weight in enumerate(mask.numpy()):
        products = [np.sum(weight * heard[c, f] * heard[0, f].conj()) for c in range(4)]
        turned = [heard[c, f] * np.exp(-1j * np.angle(products[c])) for c in range(4)]
        np.testing.assert_allclose(found[f], np.mean(turned, axis=0), rtol=1e-9)


@pytest.mark.parametrize("kind", BEAMFORMERS)
@pytest.mark.parametrize("n_mics", [2, 4, 8])
def test_a_wave_in_white_noise_gains_ten_log_of_the_microphones(kind, n_mics):
    """MVDR a little less: its covariance of the noise is of few frames, with the source in them."""
    mixture, sources = plane_waves([[1.3 * c for c in range(n_mics)]], noise_db=-6, seconds=20)
    (estimate,) = beamform(kind, mixture, sources, RATE)
    gain = si_sdr(estimate, sources[0]) - si_sdr(mixture[0], sources[0])
    less = {"delay_and_sum": 0.3, "mvdr": 1.5}[kind]
    assert -less < gain - 10 * math.log10(n_mics) < 0.3


def test_mvdr_puts_out_other_directions_where_delay_and_sum_lets_them_through():
    """Three sources and four microphones: the filter has a zero for each of the others."""
    delays = [[c * step for c in range(4)] for step in (1.0, -2.6, 0.1)]
    mixture, sources = plane_waves(delays, noise_db=-40)
    scores = {
        kind: [si_sdr(*pair) for pair in zip(beamform(kind, mixture, sources, RATE), sources, strict=True)]
        for kind in BEAMFORMERS
    }
    before = [si_sdr(mixture[0], source) for source in sources]
    assert all(score - old > 10 for score, old in zip(scores["mvdr"], before, strict=True))
    assert all(one - other > 6 for one, other in zip(scores["mvdr"], scores["delay_and_sum"], strict=True))


def test_masks_and_the_rest_of_the_mixture_make_one():
    mixture, _ = spectra(n_mics=4)
    masks = ideal_ratio_masks(mixture[0], mixture[1:3])
    rest = mixture[0] - mixture[1] - mixture[2]
    total = mixture[1].abs() + mixture[2].abs() + rest.abs()
    torch.testing.assert_close(masks.sum(0) + rest.abs() / total, torch.ones_like(masks[0]))
    assert not ideal_ratio_masks(torch.zeros(1, 2).cfloat(), torch.zeros(3, 1, 2).cfloat()).any()


@pytest.mark.parametrize("kind", BEAMFORMERS)
@pytest.mark.parametrize("n_samples", [1, 100, 3000])
def test_any_length_and_silence_stay_finite(kind, n_samples):
    mixture, sources = plane_waves([[0.0, 1.0], [0.0, -1.0]], noise_db=-20)
    mixture, sources = mixture[:, :n_samples], sources[:, :n_samples]
    sources = torch.stack([sources[0], torch.zeros(n_samples)])
    estimates = beamform(kind, mixture, sources, RATE)
    assert (estimates.shape, estimates.dtype) == (sources.shape, torch.float32)
    assert torch.isfinite(estimates).all()
    assert torch.isfinite(beamform(kind, torch.zeros_like(mixture), torch.zeros_like(sources), RATE)).all()


def test_mvdr_gives_silence_for_a_silent_source_and_a_lone_one_back():
    mixture, sources = plane_waves([[0.0, 1.0], [0.0, -1.0]], noise_db=-20)
    assert not beamform("mvdr", mixture, torch.stack([sources[0], torch.zeros_like(sources[0])]), RATE)[1].any()
    lone, source = plane_waves([[0.0, 2.0, 4.0]], noise_db=-math.inf)
    assert si_sdr(beamform("mvdr", lone, source, RATE)[0], source[0]) > 30


def test_one_microphone_is_refused():
    for mixture in (torch.zeros(800), torch.zeros(1, 800)):
        with pytest.raises(ValueError, match=r"mixture must be \[C, T\] with C > 1, got \["):
            beamform("mvdr", mixture, torch.zeros(2, 800), RATE)


def test_each_has_its_word_and_label():
    assert [*ORACLES] == [*BEAMFORMERS]
