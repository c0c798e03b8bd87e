"""``asteroid-stab bench rooms``: one table of loading and training, and that both read the same mixtures."""

import json

import numpy as np
import pytest

from asteroid_stab.cli.main import main
from bench.rooms import DRY, corpora, epochs

NAMES = [DRY, "one microphone", "four microphones"]


@pytest.fixture(autouse=True)
def _few_rooms(monkeypatch):
    monkeypatch.setattr("bench.rooms._N_ROOMS", 1)
    monkeypatch.setattr("bench.rooms._GEOMETRY", {"geometry": "whamr", "low_rt60_s": 0.1, "high_rt60_s": 0.1})


@pytest.mark.slow
def test_one_table_and_file(tmp_path, capsys):
    file = tmp_path / "rooms.json"
    words = ["--n-mixtures", "4", "--segment-s", "0.5", "--rounds", "1", "--workers", "0", "--json", str(file)]
    assert main(["bench", "rooms", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    written = json.loads(file.read_text())["segments_per_second"]
    assert list(written["loaded"]) == list(written["trained"]) == NAMES
    for name, speed in written["trained"].items():
        (line,) = [line for line in lines if line.strip().startswith(name)]
        ratio = f"{speed / written['trained'][DRY]:.2f}"
        assert line.split()[-3:] == [f"{written['loaded'][name]:.0f}", f"{speed:.1f}", ratio]


def test_the_mixtures_are_the_same_ones(tmp_path):
    given = corpora(4, 2, 8000, tmp_path)
    dry, one, four = (corpus.dataset("train", 0.5) for corpus in given.values())
    assert [*dry.names] == [*one.names] == [*four.names]
    assert (one.n_mics, four.n_mics) == (1, 4)
    assert np.array_equal(one[0][0], four[0][0][0])
    epoch, n_segments = epochs(given[DRY], 0.5, 0, train=True)
    epoch()
    assert n_segments == 4


@pytest.mark.bench
def test_rooms_hold_no_training_up(tmp_path):
    from bench.measure import least_times

    calls = {name: epochs(corpus, 1.5, 2, True)[0] for name, corpus in corpora(64, 2, 8000, tmp_path).items()}
    least = least_times(calls, 10, 60.0, "cpu")
    # Measured on a quiet machine: equal to 1%. Loading alone is nine times as fast as training.
    assert all(seconds < 1.3 * least[DRY] for seconds in least.values()), least
