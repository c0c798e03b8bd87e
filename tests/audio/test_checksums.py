"""Damage to a packed cache is found: at its start and in some tracks at each opening, in all of them if wanted."""

import os
from itertools import pairwise

import numpy as np
import pytest

from asteroid_stab.audio.checksums import CHECK_ALL, check_sums, sums_file, write_sums
from asteroid_stab.errors import StabError

N = 100
OFFSETS = [64 + 50 * k for k in range(N + 1)]
NAMES = [f"{k}.flac" for k in range(N)]


@pytest.fixture
def pack(tmp_path):
    path, part = tmp_path / "a.pack", tmp_path / "a.pack.part"
    part.write_bytes(np.random.default_rng(0).bytes(OFFSETS[-1]))
    write_sums(part, path, OFFSETS)
    os.replace(part, path)
    return path


def damage(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_whole_one_is_taken(pack, monkeypatch):
    check_sums(pack, OFFSETS, NAMES)
    monkeypatch.setenv(CHECK_ALL, "1")
    check_sums(pack, OFFSETS, NAMES)


@pytest.mark.parametrize("whole", ["0", "1"])
@pytest.mark.parametrize(("at", "part"), [(3, "at its start"), (64, "of 0.flac"), (OFFSETS[-1] - 1, "of 99.flac")])
def test_the_start_and_the_ends_are_always_compared(pack, monkeypatch, whole, at, part):
    monkeypatch.setenv(CHECK_ALL, whole)
    damage(pack, at)
    with pytest.raises(StabError, match=f"a.pack is damaged.*{part}.*delete .*a.pack, and it is packed again"):
        check_sums(pack, OFFSETS, NAMES)


def test_any_byte_is_found_where_all_is_compared(pack, monkeypatch):
    """And some of them without: sixteen tracks of a hundred."""
    found = {"0": [], "1": []}
    for track, (start, stop) in enumerate(pairwise(OFFSETS)):
        damage(pack, (start + stop) // 2)
        for whole, tracks in found.items():
            monkeypatch.setenv(CHECK_ALL, whole)
            try:
                check_sums(pack, OFFSETS, NAMES)
            except StabError as error:
                assert f"{NAMES[track]};" in str(error)  # noqa: PT017
                tracks.append(track)
        damage(pack, (start + stop) // 2)  # mends it
    assert found["1"] == [*range(N)]
    assert len(found["0"]) == 16


def test_checksums_that_are_damaged_are_no_checksums(pack):
    for change in (lambda data: data[:-1], lambda data: b"x" + data[1:]):
        sums_file(pack).write_bytes(change(sums_file(pack).read_bytes()))
        with pytest.raises(StabError, match="a.pack.sums is damaged: delete .*a.pack, and it is packed again"):
            check_sums(pack, OFFSETS, NAMES)


def test_one_of_an_earlier_version_has_none(pack, monkeypatch):
    sums_file(pack).unlink()
    check_sums(pack, OFFSETS, NAMES)
    monkeypatch.setenv(CHECK_ALL, "1")
    with pytest.raises(StabError, match=f"{CHECK_ALL}=1 needs checksums, and .*a.pack is of a version without them"):
        check_sums(pack, OFFSETS, NAMES)
