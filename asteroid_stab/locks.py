"""Locks on files and folders that the system takes back when their process ends: a kill leaves none behind."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from asteroid_stab.errors import StabError

_LOCK_FILE = ".asteroid-stab.lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_held: set[int] = set()
log = logging.getLogger(__name__)


def _drop() -> None:
    """Closes the descriptors in a forked child, such as a loader's worker, which would hold the locks after a kill."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_drop)


def lock(path: str | os.PathLike[str], wait: bool = False) -> int:
    """Locks an existing file or folder for this process and returns the descriptor that :func:`unlock` takes.

    Args:
        path: the file or folder.
        wait: whether to wait while another process holds it.

    Raises:
        BlockingIOError: another process, or another lock of this one, holds it.
        FileNotFoundError: there is no such file or folder.
        OSError: the file system has no locks (of folders, on some network file systems).
    """
    while True:
        descriptor = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)  # NFS locks what may be written
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # Its holder may have removed it, and somebody made another, between the two calls.
            current = os.path.samestat(os.fstat(descriptor), os.stat(path))
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
            if lock_file is not None:
                lock_file.unlink(missing_ok=True)
            with suppress(OSError):  # something is in it
                for own in reversed(made):
                    own.rmdir()
            unlock(descriptor)


def _make(folder: Path) -> list[Path]:
    """Makes a folder with its parents; returns those that were not there, from the outermost."""
    absent = [place for place in (*reversed(folder.parents), folder) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return absent


def _lock_folder(folder: Path, wait: bool) -> tuple[int, Path | None]:
    """Locks a folder, or a file in it where the file system locks no folders (NFS)."""
    try:
        return lock(folder, wait), None
    except (BlockingIOError, FileNotFoundError):
        raise
    except OSError:
        file = folder / _LOCK_FILE
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o666))
        return lock_if_possible(file, wait), file  # FileNotFoundError: its holder has just removed it
