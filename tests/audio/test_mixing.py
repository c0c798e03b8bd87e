"""The arithmetic of a mixture, against loops."""

import math

import numpy as np
import pytest

from asteroid_stab.audio.mixing import clip_16_bit, extend_noise


def extend_slowly(noise, n_frames):
    """Sample by sample: the last 8001 fade out under the first 8001 of the next repetition."""
    out = [float(x) for x in noise]
    while len(out) < n_frames:
        begin = len(out) - 8001
        for i in range(8001):
            rise = 0.5 - 0.5 * math.cos(math.pi * i / 8000)
            out[begin + i] = out[begin + i] * (1 - rise) + float(noise[i]) * rise
        out += [float(x) for x in noise[8001:]]
    return np.array(out[:n_frames])


@pytest.mark.parametrize("n_noise", [8002 + 300, 12_000, 16_001, 30_000])
def test_extended_noise_is_cross_faded(n_noise):
    noise = np.random.default_rng(1).standard_normal(n_noise).astype(np.float32)
    n_frames = min(70_000, n_noise + 8000)
    got = extend_noise(noise, n_frames)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, extend_slowly(noise, n_frames), atol=3e-7)


def test_extending_a_constant_leaves_it():
    np.testing.assert_allclose(extend_noise(np.full(9000, 0.25, np.float32), 50_000), 0.25, atol=1e-7)


def test_long_noise_is_cut():
    noise = np.arange(10, dtype=np.float32)
    np.testing.assert_array_equal(extend_noise(noise, 4), [0, 1, 2, 3])


def test_noise_no_longer_than_the_cross_fade_cannot_be_repeated():
    with pytest.raises(ValueError, match="longer than 8001 samples to be repeated, got 8001"):
        extend_noise(np.zeros(8001, np.float32), 8002)
    assert len(extend_noise(np.zeros(8001, np.float32), 8001)) == 8001


def test_clipping_is_that_of_a_16_bit_file():
    inside = np.array([-1.0, 32_767 / 32_768, 0.0], np.float32)
    assert clip_16_bit(inside.copy()).tolist() == inside.tolist()
    assert clip_16_bit(np.array([[1.0, -1.5]])).tolist() == [[32_767 / 32_768, -1.0]]
