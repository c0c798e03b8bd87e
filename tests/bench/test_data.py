"""``asteroid-stab bench data``: three ways to the same segments, side by side."""

import random
from functools import partial

import numpy as np
import pytest
import torch

from bench import data as bench_data
from bench.data import measure, segments_per_second


def test_three_ways_in_one_table(capsys, monkeypatch):
    monkeypatch.setattr(bench_data, "segments_per_second", partial(segments_per_second, n_rounds=1))
    n_threads = torch.get_num_threads()
    try:
        assert bench_data.main(["--n-mixtures", "3", "--segment-s", "1.0"]) == 0
    finally:
        torch.set_num_threads(n_threads)
    shown = capsys.readouterr().out
    for name in ("FLAC, decoded on the fly", "packed cache", "Asteroid's LibriMix on wavs"):
        (line,) = [line for line in shown.splitlines() if name in line]
        speed, times = (float(cell) for cell in line.split("│")[2:4])
        assert speed > 0
        assert times > 0
    assert times == 1.0  # the last line is Asteroid's own


def test_all_three_read_the_same_mixtures(tmp_path, monkeypatch):
    bench_data._speak(tmp_path / "speech")
    read = {}

    def collect(ways, n_items):
        for name, way in ways.items():
            random.seed(0)
            read[name] = [way(item)[:2] for item in range(n_items)]
        return dict.fromkeys(ways, 1.0)

    monkeypatch.setattr(bench_data, "segments_per_second", collect)
    measure(tmp_path / "speech", "train-clean-100", 3, 1.0, 8000, 2, tmp_path / "scratch")
    decoded, packed, theirs = read.values()
    for (a, b), (c, d), (e, f) in zip(decoded, packed, theirs, strict=True):
        assert np.abs(a - c).max() <= 1 / 32_768
        assert np.abs(b - d).max() <= 1 / 32_768
        assert a.shape == e.shape == (8000,)
        assert b.shape == f.shape == (2, 8000)
    # Asteroid crops elsewhere; the energy of a second is of the same order.
    ours, others = (np.mean([mixture.square().mean() for mixture, _ in way]) for way in (decoded, theirs))
    assert 0.2 < ours / others < 5


def test_speed_is_that_of_the_best_round(monkeypatch):
    clock = iter([0.0, 4.0, 10.0, 11.0, 20.0, 22.0, 30.0, 38.0, 40.0, 49.0])
    monkeypatch.setattr(bench_data.time, "perf_counter", lambda: next(clock))
    speeds = segments_per_second({"a": str, "b": str}, n_items=8, n_rounds=3, budget_s=5.0)
    assert speeds == {"a": 8 / 2.0, "b": 8 / 1.0}  # a has taken 6 s after two rounds


@pytest.mark.bench
def test_the_cache_is_five_times_asteroids(tmp_path):
    bench_data._speak(tmp_path / "speech")
    speeds = measure(tmp_path / "speech", "train-clean-100", 50, 3.0, 8000, 2, tmp_path / "scratch")
    assert speeds["packed cache"] >= 5 * speeds["Asteroid's LibriMix on wavs"]
