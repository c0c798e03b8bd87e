"""The arithmetic of a mixture, against scipy on whole signals and against loops."""

import math

import numpy as np
import pytest
from scipy.signal import resample_poly

from asteroid_stab.audio.mixing import clip_16_bit, extend_noise, resampled_crop, resampled_length


@pytest.mark.parametrize("rate", [8000, 16_000, 11_025, 24_000])
def test_crop_is_the_slice_of_the_whole(rate):
    rng = np.random.default_rng(0)
    for n_frames in (1, 7, 41, 500, 5001):
        signal = rng.standard_normal(n_frames).astype(np.float32)
        whole = resample_poly(signal, rate, 16_000)
        n_out = resampled_length(n_frames, rate)
        assert len(whole) == n_out
        edges = [(0, n_out), (n_out - 1, n_out), (0, 1)]
        for start, stop in edges + [sorted(rng.choice(n_out + 1, 2, replace=False)) for _ in range(20 * (n_out > 1))]:
            part = resampled_crop(lambda a, b, x=signal: x[a:b], n_frames, rate, int(start), int(stop))
            np.testing.assert_array_equal(part, whole[start:stop])


def test_crop_reads_no_more_than_the_filter_hears():
    asked = []

    def read(start, stop):
        asked.append((start, stop))
        return np.zeros(stop - start, np.float32)

    resampled_crop(read, 200_000, 8000, 50_000, 74_000)
    (start, stop), *more = asked
    assert not more
    assert 99_980 - 2 <= start <= 99_980  # 20 samples either side
    assert 148_018 <= stop <= 148_022


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
