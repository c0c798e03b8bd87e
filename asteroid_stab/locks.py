"""Locks on files and folders that the system takes back when their process ends: a kill leaves none behind."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from asteroid_stab.errors import StabError

_LOCK_FILE = ".asteroid-stab.lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_POLL_S = 0.05
_LOCKED_BYTE = 2**31 - 2  # Windows lets nobody read or write a locked byte: the last one that it can lock
_held: set[int] = set()
log = logging.getLogger(__name__)


def _module(name: str) -> Any:
    """A module of the standard library; None on a system that does not have it."""
    try:
        return import_module(name)
    except ImportError:
        return None


fcntl, msvcrt = _module("fcntl"), _module("msvcrt")
OPEN_FILES_MOVE = fcntl is not None
"""Whether the system moves and removes a file that a process has open; Windows does not."""


def _drop() -> None:
    """Closes the descriptors in a forked child, such as a loader's worker, which would hold the locks after a kill."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop)


def lock(path: str | os.PathLike[str], wait: bool = False) -> int:
    """Locks an existing file or folder for this process and returns the descriptor that :func:`unlock` takes.

    Args:
        path: the file or folder.
        wait: whether to wait while another process holds it.

    Raises:
        BlockingIOError: another process, or another lock of this one, holds it.
        FileNotFoundError: there is no such file or folder.
        OSError: the file system has no locks (of folders: on Windows and on some network file systems).
    """
    while True:
        descriptor = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)  # NFS locks what may be written
        try:
            _take(descriptor, wait)
            # Its holder may have removed it, and somebody made another, between the two calls.
            current = not OPEN_FILES_MOVE or os.path.samestat(os.fstat(descriptor), os.stat(path))
        except OSError:
            os.close(descriptor)
            raise
        if current:
            _held.add(descriptor)
            return descriptor
        os.close(descriptor)


def lock_if_possible(path: str | os.PathLike[str], wait: bool = False) -> int:
    """Locks a file as :func:`lock` does; where the file system has no locks, warns and goes on without.

    Raises:
        BlockingIOError: another process, or another lock of this one, holds it.
        FileNotFoundError: there is no such file.
    """
    try:
        return lock(path, wait)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        log.warning("the file system of %s has no locks: nothing keeps a second process out", path)
        descriptor = os.open(path, os.O_RDWR)
        _held.add(descriptor)
        return descriptor


def unlock(descriptor: int) -> None:
    """Gives a lock back."""
    if descriptor in _held:
        _held.remove(descriptor)
        os.close(descriptor)


@contextmanager
def given_back(descriptor: int) -> Iterator[None]:
    """Gives a lock back with the block that removes its file: after it, or before it where no open file is removed.

    In the second case another process may take the file over in between; then it stays, and the other removes it.
    """
    if not OPEN_FILES_MOVE:
        unlock(descriptor)
        with suppress(PermissionError):
            yield
        return
    try:
        yield
    finally:
        unlock(descriptor)


def _take(descriptor: int, wait: bool) -> None:
    """Locks an open file or folder as the system does it."""
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return
    if msvcrt is None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    while True:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            return msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            if not wait:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
        time.sleep(_POLL_S)


@contextmanager
def claimed(folder: str | os.PathLike[str], advice: str, wait: bool = False) -> Iterator[None]:
    """Makes ``folder`` if needed and holds it for this process alone; removes what it made if nothing was put in.

    Args:
        folder: the folder.
        advice: what the user can do while another process holds it, for the message.
        wait: wait for the other process instead of raising.

    Raises:
        StabError: another process holds it, or the folder cannot be made.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "run"
        >>> with claimed(folder, "wait for its end"):
        ...     with claimed(folder, "wait for its end"):
        ...         pass
        Traceback (most recent call last):
        asteroid_stab.errors.StabError: ...run is in use by another process: wait for its end
        >>> folder.exists()
        False
    """
    folder = Path(folder)
    made: list[Path] = []
    descriptor, lock_file = -1, None
    try:
        while descriptor < 0:  # its holder may remove it just before it is locked
            made = [*made, *_make(folder)]
            with suppress(FileNotFoundError):
                descriptor, lock_file = _lock_folder(folder, wait)
        yield
    except BlockingIOError as error:
        if descriptor >= 0:
            raise
        raise StabError(f"{folder} is in use by another process: {advice}") from error
    except OSError as error:
        if descriptor >= 0:
            raise
        raise StabError(f"cannot use the folder {folder}: {error.strerror}") from error
    finally:
        if descriptor >= 0:
            with given_back(descriptor):
                if lock_file is not None:
                    lock_file.unlink(missing_ok=True)
                with suppress(OSError):  # something is in it
                    for own in reversed(made):
                        own.rmdir()


def _make(folder: Path) -> list[Path]:
    """Makes a folder with its parents; returns those that were not there, from the outermost."""
    absent = [place for place in (*reversed(folder.parents), folder) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return absent


def _lock_folder(folder: Path, wait: bool) -> tuple[int, Path | None]:
    """Locks a folder, or a file in it where no folder can be locked (NFS, Windows)."""
    try:
        return lock(folder, wait), None
    except (BlockingIOError, FileNotFoundError):
        raise
    except OSError:
        file = folder / _LOCK_FILE
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o666))
        return lock_if_possible(file, wait), file  # FileNotFoundError: its holder has just removed it
