"""What an evaluation has measured is on the disk at once, and is read back as it was."""

import json

import numpy as np
import pytest

from asteroid_stab.errors import StabError
from asteroid_stab.metrics.journal import journal
from asteroid_stab.metrics.measured import Measured

SETTINGS = {"model": "abc", "metrics": ["si_sdr"]}
MEASURED = Measured(
    {"si_sdr": 1 / 3, "stoi": float("nan")},
    np.array([1, 2, 0]),
    {"stoi": "too short"},
    {"si_sdr": np.array([0.1, float("nan"), -1e-300])},
    "singular",
)


def interrupt(path, settings=SETTINGS, items=(4,)):
    place = journal(path, settings, "wait")
    kept = place.__enter__()
    for item in items:
        kept.add(item, MEASURED, {"input_snr": 2 / 3})
    assert not place.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)


def test_what_was_measured_is_read_back_to_the_last_bit(tmp_path):
    path = tmp_path / "new" / "part.jsonl"
    interrupt(path)
    with journal(path, SETTINGS, "wait") as kept:
        assert [*kept.measured] == [4]
        read = kept.measured[4]
        np.testing.assert_equal(read.values, MEASURED.values)
        np.testing.assert_array_equal(read.perm, [1, 2, 0])
        np.testing.assert_array_equal(read.sources["si_sdr"], MEASURED.sources["si_sdr"])
        assert (read.failures, read.fallback) == (MEASURED.failures, "singular")
        assert kept.own == {4: {"input_snr": 2 / 3}}
    assert not path.exists()


@pytest.mark.parametrize("n_cut", [1, 30])
def test_a_half_line_is_dropped_and_written_again(tmp_path, n_cut):
    path = tmp_path / "part.jsonl"
    interrupt(path, items=(0, 1))
    path.write_bytes(path.read_bytes()[:-n_cut])
    interrupt(path, items=(2,))
    assert [json.loads(line).get("id") for line in path.read_text().splitlines()] == [None, 0, 2]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\n", b"[1]\n", b'{"model": "other"}\n{"id": 1}\n'])
def test_what_is_of_another_evaluation_goes(tmp_path, content):
    path = tmp_path / "part.jsonl"
    path.write_bytes(content)
    interrupt(path)
    assert [json.loads(line).get("id") for line in path.read_text().splitlines()] == [None, 4]


def test_nothing_is_left_of_an_evaluation_that_measured_nothing(tmp_path):
    interrupt(tmp_path / "new" / "part.jsonl", items=())
    assert list(tmp_path.iterdir()) == []


def test_one_process_at_a_time(tmp_path):
    path = tmp_path / "part.jsonl"
    with journal(path, SETTINGS, "wait"), pytest.raises(StabError, match="another process is writing: name another"):
        journal(path, SETTINGS, "name another").__enter__()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StabError, match="cannot write to '.*part.jsonl': .*; name another"):
        journal(tmp_path / "file" / "part.jsonl", SETTINGS, "name another").__enter__()
