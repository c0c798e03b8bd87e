"""``asteroid-stab bench data``: three ways to the same segments, side by side."""

import json
import random

import numpy as np
import pytest

from asteroid_stab.cli.main import main
from bench.data import ASTEROID, segments_per_second, ways_to_read, write_speech

NAMES = ["FLAC, decoded on the fly", "packed cache", ASTEROID]


def test_three_ways_in_one_table_and_file(tmp_path, capsys):
    file = tmp_path / "data.json"
    words = ["--n-mixtures", "3", "--segment-s", "1.0", "--rounds", "1", "--json", str(file)]
    assert main(["bench", "data", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    written = json.loads(file.read_text())
    assert list(written["segments_per_second"]) == NAMES
    assert (written["n_mixtures"], written["segment_s"], written["threads"]) == (3, 1.0, 1)
    asteroid = written["segments_per_second"][ASTEROID]
    for name, speed in written["segments_per_second"].items():
        (line,) = [line for line in lines if name in line]
        assert line.split()[-2:] == [f"{speed:.0f}", f"{speed / asteroid:.1f}"]


@pytest.mark.parametrize("flag", ["--n-mixtures", "--n-src", "--rounds", "--segment-s", "--budget-s"])
def test_numbers_below_0_are_refused(flag, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "data", f"{flag}=-5"])
    assert f"{flag}: must be a" in capsys.readouterr().err


def test_all_three_read_the_same_mixtures(tmp_path):
    write_speech(tmp_path / "speech")
    ways, n_items = ways_to_read(tmp_path / "speech", "train-clean-100", 3, 1.0, 8000, 2, tmp_path / "scratch")
    read = {}
    for name, way in ways.items():
        random.seed(0)
        read[name] = [way(item)[:2] for item in range(n_items)]
    assert list(read) == NAMES
    decoded, packed, theirs = read.values()
    for (a, b), (c, d), (e, f) in zip(decoded, packed, theirs, strict=True):
        assert np.abs(a - c).max() <= 1 / 32_768
        assert np.abs(b - d).max() <= 1 / 32_768
        assert a.shape == e.shape == (8000,)
        assert b.shape == f.shape == (2, 8000)
    # Asteroid crops elsewhere; the energy of a second is of the same order.
    ours, others = (np.mean([mixture.square().mean() for mixture, _ in way]) for way in (decoded, theirs))
    assert 0.2 < ours / others < 5


def test_a_speed_is_of_the_best_round(monkeypatch):
    monkeypatch.setattr(
        "bench.data.least_times", lambda calls, *_: {name: call() or 2.0 for name, call in calls.items()}
    )
    read = []
    assert segments_per_second({"a": read.append}, n_items=8, n_rounds=3, budget_s=5.0) == {"a": 4.0}
    assert read == list(range(8))


@pytest.mark.bench
def test_the_cache_is_five_times_asteroids(tmp_path):
    write_speech(tmp_path / "speech")
    ways = ways_to_read(tmp_path / "speech", "train-clean-100", 50, 3.0, 8000, 2, tmp_path / "scratch")
    speeds = segments_per_second(*ways, n_rounds=30, budget_s=5.0)
    assert speeds["packed cache"] >= 5 * speeds[ASTEROID]
