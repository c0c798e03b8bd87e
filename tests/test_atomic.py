"""Files that are whole or absent, and what killed processes leave behind."""

import os
import subprocess
import sys

import pytest

from asteroid_stab import atomic
from asteroid_stab.atomic import (
    check_writable,
    making,
    remove_own,
    remove_unfinished,
    replacing,
    working_folder,
    write_text,
)
from asteroid_stab.errors import StabError
from asteroid_stab.locks import lock, unlock

KILLED = """
import os, sys
from pathlib import Path
from asteroid_stab.atomic import replacing, working_folder
place = Path(sys.argv[1])
with replacing(place / "a.npy") as new, working_folder(place) as folder:
    new.write_text("half")
    (folder / "raw.wav").write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_left_goes_at_the_next_write(tmp_path):
    write_text(tmp_path / "a.npy", "old")
    (tmp_path / ".mine.tmp").touch()
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 4
    write_text(tmp_path / "b.txt", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.tmp", "a.npy", "b.txt"]
    assert (tmp_path / "a.npy").read_text() == "old"


def test_what_is_being_written_stays(tmp_path):
    with replacing(tmp_path / "a.wav") as new, working_folder(tmp_path) as folder:
        new.write_text("half")
        code = "import sys; from asteroid_stab.atomic import remove_unfinished; remove_unfinished(sys.argv[1])"
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
        assert new.suffix == ".wav"
        assert new.exists()
        assert folder.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_a_failure_leaves_the_old_file_alone(tmp_path):
    write_text(tmp_path / "a", "old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a") as new:
        new.write_text(f"half {1 / 0}")
    assert (tmp_path / "a").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_name_of_the_greatest_length(tmp_path):
    write_text(tmp_path / ("n" * 251 + ".txt"), "x")
    write_text(tmp_path / ("." + "n" * 200), "x")
    assert len(list(tmp_path.iterdir())) == 2


def test_new_files_have_the_usual_permissions(tmp_path):
    write_text(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert os.stat(tmp_path / "a").st_mode == os.stat(tmp_path / "b").st_mode


def test_a_place_is_checked_before_the_work(tmp_path, monkeypatch):
    check_writable(tmp_path / "new" / "folder", "name another")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(StabError, match="cannot write to '.*file/in': Not a directory; name another"):
        check_writable(tmp_path / "file" / "in", "name another")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(StabError, match="No space left on device; make room"):
        check_writable(tmp_path / "new", "make room")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_not_there_holds_nothing_unfinished(tmp_path):
    remove_unfinished(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_one_process_makes_a_file_and_the_others_wait_or_are_told(tmp_path):
    path = tmp_path / "new" / "a.pack"
    code = "import sys, time; from asteroid_stab.atomic import making\n"
    code += "with making(sys.argv[1]):\n    print('made', flush=True)\n    time.sleep(1)\n    open(sys.argv[1], 'w')"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"made\n"
        with pytest.raises(StabError, match="a.pack is being written by another process: wait"), making(path, "wait"):
            pass
        with making(path.with_name("b.pack"), "wait"):
            write_text(path.with_name("b.pack"), "x")  # looks for what killed processes left, and leaves that claim
        with making(path):
            assert path.exists()
    assert sorted(file.name for file in path.parent.iterdir()) == ["a.pack", "b.pack"]


def test_a_killed_process_leaves_no_claim_to_a_file(tmp_path):
    code = "import os, sys; from asteroid_stab.atomic import making\n"
    code += "with making(sys.argv[1]): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    with making(tmp_path / "a", "wait"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_who_removes_unfinished_files_keeps_no_name_from_its_maker(tmp_path, monkeypatch):
    """It holds a claim that was made and not locked yet: for a moment, in which another process makes the file."""
    real, held = atomic.lock_if_possible, []

    def lock_late(path, wait=False):
        if not held:
            held.append(lock(path))
            raise BlockingIOError
        if held[0] is not None:
            path.unlink()
            unlock(held[0])
            held[0] = None
        return real(path, wait)

    monkeypatch.setattr(atomic, "lock_if_possible", lock_late)
    with making(tmp_path / "a", "wait"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ends_in_a_hurry_removes_its_own(tmp_path):
    def write():
        with replacing(tmp_path / "a.txt") as new:
            new.write_text("half")
            remove_own()
            assert list(tmp_path.iterdir()) == []

    with pytest.raises(FileNotFoundError):
        write()
