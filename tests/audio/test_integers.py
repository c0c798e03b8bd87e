"""Integers of a file, read at any place, by any process, and what is missing."""

import pickle

import numpy as np
import pytest

from asteroid_stab.audio import integers
from asteroid_stab.audio.integers import IntegerFile
from asteroid_stab.errors import StabError


@pytest.fixture
def file(tmp_path):
    values = np.random.default_rng(0).integers(-32_768, 32_767, 5000).astype("<i2")
    (tmp_path / "a.bin").write_bytes(b"head" + values.tobytes())
    return IntegerFile(tmp_path / "a.bin", 4), values


@pytest.mark.parametrize(("start", "stop"), [(0, 5000), (0, 0), (17, 18), (4990, 5000)])
def test_integers_are_slices(file, start, stop):
    for reader in (file[0], pickle.loads(pickle.dumps(file[0]))):
        np.testing.assert_array_equal(reader.read(start, stop), file[1][start:stop])


def test_a_read_in_parts_is_whole(file, monkeypatch):
    """The system may return less than it was asked for."""
    whole = integers.os.preadv
    monkeypatch.setattr(integers.os, "preadv", lambda fd, parts, place: whole(fd, [parts[0][:777]], place))
    np.testing.assert_array_equal(file[0].read(3, 4500), file[1][3:4500])


def test_missing_integers_and_files_are_named(file, tmp_path):
    with pytest.raises(
        StabError, match=r"a\.bin was cut off while it was in use: it ends at byte 10004, 20 more are needed"
    ):
        file[0].read(4000, 5010)
    with pytest.raises(StabError, match=r"cannot read .*b\.bin: No such file"):
        IntegerFile(tmp_path / "b.bin", 0).read(0, 1)
