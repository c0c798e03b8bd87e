"""Parts of a resampled signal, against scipy on whole signals."""

import numpy as np
import pytest
from scipy.signal import resample_poly

from asteroid_stab.audio.resampling import resample_blocks, resampled_crop, resampled_length


@pytest.mark.parametrize("rate", [8000, 16_000, 11_025, 24_000])
def test_crop_is_the_slice_of_the_whole(rate):
    rng = np.random.default_rng(0)
    for n_frames in (1, 7, 41, 500, 5001):
        signal = rng.standard_normal(n_frames).astype(np.float32)
        whole = resample_poly(signal, rate, 16_000)
        n_out = resampled_length(n_frames, rate, 16_000)
        assert len(whole) == n_out
        edges = [(0, n_out), (n_out - 1, n_out), (0, 1)]
        for start, stop in edges + [sorted(rng.choice(n_out + 1, 2, replace=False)) for _ in range(20 * (n_out > 1))]:
            part = resampled_crop(lambda a, b, x=signal: x[a:b], n_frames, rate, int(start), int(stop), 16_000)
            np.testing.assert_array_equal(part, whole[start:stop])


def test_crop_reads_no_more_than_the_filter_hears():
    asked = []

    def read(start, stop):
        asked.append((start, stop))
        return np.zeros(stop - start, np.float32)

    resampled_crop(read, 200_000, 8000, 50_000, 74_000, 16_000)
    (start, stop), *more = asked
    assert not more
    assert 99_980 - 2 <= start <= 99_980  # 20 samples either side
    assert 148_018 <= stop <= 148_022


@pytest.mark.parametrize(("up", "down"), [(1, 6), (80, 441), (2, 1), (1, 2), (441, 80), (5, 4), (16_000, 44_100)])
@pytest.mark.parametrize("n_frames", [1, 100, 20_011])
def test_blocks_are_the_whole_to_the_bit(up, down, n_frames):
    rng = np.random.default_rng(n_frames)
    signal = rng.standard_normal(n_frames).astype(np.float32)
    whole = resample_poly(signal.astype(np.float64), up, down).astype(np.float32)
    cuts = np.sort(rng.integers(0, n_frames + 1, 5))
    pieces = list(resample_blocks(np.split(signal, cuts), n_frames, up, down))
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_blocks_come_while_the_signal_is_read_and_little_is_held():
    read = []

    def blocks():
        for i in range(100):
            read.append(i)
            yield np.zeros(1000, np.float32)

    lengths = [(read[-1], len(piece)) for piece in resample_blocks(blocks(), 100_000, 8000, 44_100)]
    assert sum(n for _, n in lengths) == resampled_length(100_000, 8000, 44_100)
    assert all(150 < n < 250 for last, n in lengths if 0 < last < 99)  # a block's worth: none waits for the end


def test_several_signals_are_resampled_as_each_of_them():
    signals = np.random.default_rng(0).standard_normal((3, 5000))
    blocks = np.array_split(signals, 7, axis=1)
    together = np.concatenate(list(resample_blocks(blocks, 5000, 8000, 44_100)), axis=1)
    for signal, found in zip(signals, together, strict=True):
        alone = np.concatenate(list(resample_blocks(np.array_split(signal, 3), 5000, 8000, 44_100)))
        np.testing.assert_array_equal(found, alone)
