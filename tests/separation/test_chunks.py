import itertools

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve, firwin

from asteroid_stab.errors import StabError
from asteroid_stab.separation import alignment
from asteroid_stab.separation.chunks import GRID, Layout, layout, model_forward, separate_blocks

RATE = 8000
N_TAPS = 257
EDGES_HZ = {2: (1500,), 3: (1200, 2400)}


def band_filters(n_src):
    edges = [50, *EDGES_HZ[n_src], 3900]
    bands = list(itertools.pairwise(edges))
    return [firwin(N_TAPS, band, pass_zero=False, fs=RATE) for band in bands]


class FlippingModel:
    """Separates speakers of different bands; the order of its outputs depends on what it is given."""

    def __init__(self, n_src, leak=0.0):
        self.filters, self.leak = band_filters(n_src), leak
        self.orders = []

    def in_order(self, mixture):
        bands = np.stack([fftconvolve(mixture, taps, "same") for taps in self.filters])
        return ((1 - self.leak) * bands + self.leak * mixture).astype(np.float32)

    def __call__(self, mixture):
        seed = np.frombuffer(np.ascontiguousarray(mixture).tobytes(), dtype=np.uint8).sum(dtype=np.uint64)
        self.orders.append(tuple(np.random.default_rng(int(seed)).permutation(len(self.filters))))
        return self.in_order(mixture)[list(self.orders[-1])]


def speakers(n_src, n_samples, seed=0):
    """Noise in every speaker's band, loudness and syllables of its own."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n_src, n_samples))
    signals = np.stack([fftconvolve(x, taps, "same") for x, taps in zip(noise, band_filters(n_src), strict=True)])
    syllables = np.repeat(rng.uniform(0.3, 1, (n_src, n_samples // 2000 + 1)), 2000, axis=1)[:, :n_samples]
    return signals * syllables * 10 ** (rng.uniform(-0.2, 0.2, (n_src, 1)))


def separated(model, mixture, windows, n_per_block=3001):
    mixture = mixture.astype(np.float32)
    blocks = [mixture[i : i + n_per_block] for i in range(0, len(mixture), n_per_block)]
    pieces = list(separate_blocks(model, blocks, len(mixture), windows, RATE))
    np.testing.assert_array_equal(np.concatenate([piece.mixture for piece in pieces]), mixture)
    return np.concatenate([piece.estimates for piece in pieces], axis=1)


@pytest.mark.parametrize("n_src", [2, 3])
@pytest.mark.parametrize("n_samples", [100_000, 98_765, 64_001])
@pytest.mark.parametrize("leak", [0.0, 0.15])
def test_result_is_that_of_one_pass_though_the_order_flips(n_src, n_samples, leak):
    model = FlippingModel(n_src, leak)
    mixture = speakers(n_src, n_samples).sum(0)
    estimates = separated(model, mixture, layout(2.0, 0.5, RATE))
    assert len(set(model.orders)) > 1
    whole = model.in_order(mixture)[list(model.orders[0])]
    np.testing.assert_allclose(estimates, whole, atol=1e-5)


def with_pauses(n_src, seed):
    """All silent for longer than a window, then one speaker alone for as long, then all again."""
    signals = speakers(n_src, 12 * 2 * RATE, seed)
    second = 2 * RATE
    signals[:, 3 * second : 5 * second] = 0
    signals[1:, 6 * second : 8 * second] = 0
    signals[:-1, 9 * second : 10 * second] = 0
    return signals


@pytest.mark.parametrize("n_src", [2, 3])
@pytest.mark.parametrize("leak", [0.0, 0.1])
def test_speakers_are_recognised_after_a_pause(n_src, leak):
    for seed in range(4):
        model = FlippingModel(n_src, leak)
        mixture = with_pauses(n_src, seed).sum(0)
        estimates = separated(model, mixture, layout(2.0, 0.5, RATE))
        whole = model.in_order(mixture)[list(model.orders[0])]
        np.testing.assert_allclose(estimates, whole, atol=1e-5, err_msg=f"seed {seed}")


def test_pauses_would_lose_the_speakers_without_the_memory(monkeypatch):
    monkeypatch.setattr(alignment.SpeakerMemory, "missing", lambda self, committed: [])
    n_lost = 0
    for seed in range(6):
        model = FlippingModel(3)
        mixture = with_pauses(3, seed).sum(0)
        estimates = separated(model, mixture, layout(2.0, 0.5, RATE))
        n_lost += not np.allclose(estimates, model.in_order(mixture)[list(model.orders[0])], atol=1e-5)
    assert n_lost > 0


def test_recording_of_a_window_or_less_is_one_pass():
    mixture = speakers(2, 16_000).sum(0).astype(np.float32)
    for n_samples in (16_000, 15_999, 1, 16_000 + GRID - 1):
        model = FlippingModel(2)
        padded = np.resize(mixture, n_samples)
        windows = Layout(window=16_000, overlap=4_000)
        (piece,) = separate_blocks(model, [padded], n_samples, windows, RATE)
        np.testing.assert_array_equal(piece.estimates, model(padded))
        assert len(model.orders) == 2


def test_seam_of_estimates_that_differ_is_smooth():
    """Two windows that disagree by a constant: the change from one to the other is spread over the fade."""
    calls = []

    def forward(mixture):
        calls.append(len(mixture))
        return np.stack([mixture * (1 + 0.5 * (len(calls) % 2)), 0 * mixture])

    windows = layout(2.0, 0.5, RATE)
    estimates = separated(forward, np.ones(40_000), windows)
    steps = np.abs(np.diff(estimates[0]))
    assert steps.max() < 0.5 * np.pi / 2 / windows.fade * 1.01  # the steepest a raised cosine gets
    assert steps.max() > 0


@pytest.mark.parametrize("n_samples", [1, 5_000, 16_001, 40_000, 123_457])
def test_spans_cover_everything_and_overlap(n_samples):
    windows = layout(2.0, 0.5, RATE)
    spans = list(windows.spans(n_samples))
    assert spans[0][0] == 0
    assert spans[-1][1] == n_samples
    for (start, stop), (next_start, next_stop) in itertools.pairwise(spans):
        assert start < next_start <= stop - windows.overlap
        assert next_stop > stop
        assert stop - start == windows.window
        assert next_start % GRID == 0
    assert spans[-1][1] - spans[-1][0] < windows.window + GRID


def test_memory_held_is_two_windows():
    held = []

    def forward(mixture):
        held.append(len(mixture))
        return np.stack([mixture, -mixture])

    windows = layout(2.0, 0.5, RATE)
    n_given = 0

    def blocks():
        nonlocal n_given
        for _ in range(40):
            n_given += 8_000
            yield np.ones(8_000, dtype=np.float32)

    n_out = 0
    for piece in separate_blocks(forward, blocks(), 320_000, windows, RATE):
        n_out += piece.estimates.shape[1]
        assert n_given - n_out <= 2 * windows.window
    assert n_out == 320_000
    assert max(held) < windows.window + GRID


def test_layout_refuses_windows_that_cannot_be():
    with pytest.raises(StabError, match=r"window must be at least 0\.32 s, got 0\.1 s"):
        layout(0.1, 0.05, RATE)
    with pytest.raises(StabError, match=r"half a window of 1\.92 s, got 1\.5 s"):
        layout(2.0, 1.5, RATE)
    with pytest.raises(StabError, match=r"from 0\.03 s .* got 0\.01 s"):
        layout(2.0, 0.01, RATE)


def test_blocks_that_end_early():
    with pytest.raises(ValueError, match="must hold 9000 samples, got 8000"):
        list(separate_blocks(FlippingModel(2), [np.ones(8000, "f")], 9000, layout(2.0, 0.5, RATE), RATE))


class Constant(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(float(value)))

    def forward(self, mixture):
        return (self.value * mixture)[:, None].expand(-1, 3, -1)


def test_model_forward():
    model = Constant(2.0).train()
    estimates = model_forward(model)(np.arange(5, dtype=np.float32))
    assert not model.training
    np.testing.assert_array_equal(estimates, np.stack([2 * np.arange(5)] * 3))
    with pytest.raises(StabError, match="not finite"):
        model_forward(Constant(float("nan")))(np.ones(5, dtype=np.float32))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300, -float("inf")])
def test_lengths_that_are_no_number_of_seconds_are_refused(value):
    with pytest.raises(StabError, match="the window must be at most 86400 s, got"):
        layout(value, 0.5, 8000)
    with pytest.raises(StabError, match="the overlap must be at most 86400 s, got"):
        layout(2.0, value, 8000)


def test_several_microphones_are_separated_as_the_first_that_the_model_hears():
    """With pauses, so that passages are put before a window; the result is that of one microphone."""
    signals = with_pauses(2, 0)
    mixture = signals.sum(0).astype(np.float32)
    others = np.random.default_rng(0).standard_normal((2, len(mixture))).astype(np.float32)
    windows, model = layout(2.0, 0.5, RATE), FlippingModel(2)
    alone = separated(model, mixture, windows)
    shapes = []

    def forward(given):
        shapes.append(given.shape[:-1])
        return model(given[0])

    blocks = np.array_split(np.concatenate([mixture[None], others]), 11, axis=1)
    pieces = list(separate_blocks(forward, blocks, len(mixture), windows, RATE))
    np.testing.assert_array_equal(np.concatenate([piece.mixture for piece in pieces]), mixture)
    np.testing.assert_array_equal(np.concatenate([piece.estimates for piece in pieces], axis=1), alone)
    assert {*shapes} == {(3,)}
