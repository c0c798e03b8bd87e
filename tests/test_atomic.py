"""Files that are complete or absent, and what a killed process leaves of them."""

import os
import subprocess
import sys

import pytest

from asteroid_stab import atomic
from asteroid_stab.atomic import remove_unfinished, replacing, write_text

DIES = """
import os, signal, sys
from asteroid_stab.atomic import replacing
with replacing(sys.argv[1]) as new:
    new.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(atomic, "_searched", set())


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail():
        with replacing(path) as new:
            new.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path):
    assert subprocess.run([sys.executable, "-c", DIES, str(tmp_path / "a.txt")], check=False).returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".")
    assert left.suffix == ".txt"
    write_text(tmp_path / "b.txt", "whole")
    assert [file.name for file in tmp_path.iterdir()] == ["b.txt"]


def test_files_of_living_processes_and_of_other_machines_stay(tmp_path):
    own = tmp_path / f".{os.getpid()}-{atomic._HOST}.a.txt"
    other = own.with_name(f".999999-00000000.{own.name.split('.', 2)[2]}")
    hidden = tmp_path / ".hidden.txt"
    for file in (own, other, hidden, tmp_path / ".1-x.txt"):
        file.write_text("x")
    atomic._searched.clear()
    write_text(tmp_path / "b.txt", "whole")
    assert {file.name for file in tmp_path.iterdir()} == {own.name, other.name, ".hidden.txt", ".1-x.txt", "b.txt"}


def test_a_process_that_ends_in_a_hurry_removes_its_own(tmp_path):
    def write():
        with replacing(tmp_path / "a.txt") as new:
            new.write_text("half")
            remove_unfinished()
            assert list(tmp_path.iterdir()) == []

    with pytest.raises(FileNotFoundError):
        write()
