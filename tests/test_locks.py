"""Locks end with their process, and are not passed on to its children."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from asteroid_stab import atomic, locks
from asteroid_stab.atomic import making, write_text
from asteroid_stab.errors import StabError
from asteroid_stab.locks import claimed, given_back, lock, unlock

HOLD = """
import os, sys, time
from asteroid_stab.locks import claimed
with claimed(sys.argv[1], "wait"):
    if os.fork() == 0:  # as a loader's worker
        open(sys.argv[1] + "/held", "w").close()
        print("held", flush=True)
        time.sleep(60)
        os._exit(0)
    time.sleep(60)
"""


def test_a_killed_process_leaves_no_claim_though_its_children_live(tmp_path):
    folder = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(StabError, match="run is in use by another process: name another"),
            claimed(folder, "name another"),
        ):
            pass
        holder.kill()
        holder.wait()
        with claimed(folder, "name another"):
            assert [path.name for path in folder.iterdir()] == ["held"]
    finally:
        os.killpg(holder.pid, signal.SIGKILL)


def test_a_claim_makes_the_folder_and_takes_an_empty_one_away(tmp_path):
    with claimed(tmp_path / "a" / "b", "wait"):
        assert (tmp_path / "a" / "b").is_dir()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "kept").mkdir()
    with claimed(tmp_path / "kept" / "b", "wait"):
        (tmp_path / "kept" / "b" / "file").touch()
    assert (tmp_path / "kept" / "b" / "file").exists()
    (tmp_path / "empty").mkdir()
    with claimed(tmp_path / "empty", "wait"):
        pass
    assert (tmp_path / "empty").is_dir()  # it was there before


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(StabError, match="cannot use the folder .*file/run: Not a directory"),
        claimed(tmp_path / "file" / "run", ""),
    ):
        pass


def test_an_error_of_the_block_is_its_own(tmp_path):
    with pytest.raises(BlockingIOError), claimed(tmp_path, ""):
        raise BlockingIOError
    with pytest.raises(OSError, match="full"), claimed(tmp_path, ""):
        raise OSError(errno.ENOSPC, "full")
    unlock(lock(tmp_path))


def test_one_waits_for_the_other(tmp_path):
    code = "import sys, time; from asteroid_stab.locks import claimed\n"
    code += "with claimed(sys.argv[1], '', wait=True):\n    print('held', flush=True)\n    time.sleep(1)"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        begin = time.monotonic()
        with claimed(tmp_path, "", wait=True):
            assert time.monotonic() - begin > 0.5


def test_a_file_system_that_locks_no_folders_locks_a_file(tmp_path, monkeypatch):
    plain = fcntl.flock

    def nfs(descriptor, operation):
        if not os.path.isfile(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EBADF, "Bad file descriptor")
        plain(descriptor, operation)

    monkeypatch.setattr(locks.fcntl, "flock", nfs)
    with claimed(tmp_path, "wait"):
        assert [path.name for path in tmp_path.iterdir()] == [".asteroid-stab.lock"]
        with pytest.raises(StabError, match="in use"), claimed(tmp_path, "wait"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_used_without_them(tmp_path, monkeypatch, caplog):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", none)
    with claimed(tmp_path / "run", "wait"):
        (tmp_path / "run" / "file").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["file"]
    assert "has no locks: nothing keeps a second process out" in caplog.text
    with making(tmp_path / "a", "wait"):
        write_text(tmp_path / "a", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "run"]


class Windows:
    """The lock of Windows: of a byte, for one who has the file open; kept by flock here."""

    LK_NBLCK = 2

    def locking(self, descriptor, mode, n_bytes):
        assert (mode, n_bytes) == (self.LK_NBLCK, 1)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == locks._LOCKED_BYTE < 2**31
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None


@pytest.fixture
def windows(monkeypatch):
    plain = os.open

    def opened(path, flags, *mode):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return plain(path, flags, *mode)

    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks, "msvcrt", Windows())
    monkeypatch.setattr(locks.os, "open", opened)
    for module in (locks, atomic):
        monkeypatch.setattr(module, "OPEN_FILES_MOVE", False)


def test_files_are_locked_by_their_last_byte_on_windows(tmp_path, windows):
    (tmp_path / "a").touch()
    held = lock(tmp_path / "a")
    with pytest.raises(BlockingIOError):
        lock(tmp_path / "a")
    threading.Timer(0.2, unlock, (held,)).start()
    begin = time.monotonic()
    unlock(lock(tmp_path / "a", wait=True))
    assert time.monotonic() - begin > 0.1


def test_claims_and_files_on_windows(tmp_path, windows):
    with claimed(tmp_path / "run", "wait"):
        assert (tmp_path / "run" / ".asteroid-stab.lock").is_file()
        with pytest.raises(StabError, match="in use by another process: wait"), claimed(tmp_path / "run", "wait"):
            pass
        write_text(tmp_path / "run" / "a", "x\n")
        with making(tmp_path / "run" / "b"):
            pass
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["a"]
    assert (tmp_path / "run" / "a").read_bytes() == b"x\n"
    assert not locks._held


def test_a_file_that_another_process_took_over_stays(tmp_path, windows, monkeypatch):
    """Windows gives the lock back before the file is removed; in between another process may take it."""
    (tmp_path / "a").touch()
    with given_back(lock(tmp_path / "a")):
        raise PermissionError("the file is in use")
    assert (tmp_path / "a").exists()
    assert not locks._held


def test_a_system_without_any_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks, "msvcrt", None)
    (tmp_path / "a").touch()
    with pytest.raises(OSError, match=os.strerror(errno.ENOLCK)):
        lock(tmp_path / "a")
