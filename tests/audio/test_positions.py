"""Reading and writing at a place, with the system's own calls and, as on Windows, without them."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from asteroid_stab.audio import positions
from asteroid_stab.audio.positions import read_at, write_at

PIECES = [bytes([i]) * (1000 + i) for i in range(40)]
PLACES = [3000 * i for i in range(40)]


@pytest.fixture(params=["own calls", "no calls", "in parts"])
def file(request, tmp_path, monkeypatch):
    if request.param == "no calls":
        monkeypatch.delattr(positions.os, "preadv")
        monkeypatch.delattr(positions.os, "pwrite")
    if request.param == "in parts":
        pwrite = os.pwrite
        monkeypatch.setattr(positions.os, "pwrite", lambda file, data, offset: pwrite(file, data[:77], offset))
    with open(tmp_path / "a", "w+b", buffering=0) as file:
        yield file


def test_threads_read_what_threads_wrote(file):
    def read(i):
        out = bytearray(len(PIECES[i]))
        assert read_at(file.fileno(), memoryview(out), PLACES[i]) == len(out)
        return bytes(out)

    with ThreadPoolExecutor(4) as pool:
        [*pool.map(write_at, [file.fileno()] * 40, PIECES, PLACES)]
        assert [*pool.map(read, range(40))] == PIECES


def test_the_end_of_the_file(file):
    write_at(file.fileno(), b"12345", 0)
    out = bytearray(b"-------")
    assert read_at(file.fileno(), memoryview(out), 2) == 3
    assert out == b"345----"
    assert read_at(file.fileno(), memoryview(out), 5) == 0
