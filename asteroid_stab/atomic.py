"""Files that are complete or absent: written beside their place and moved there.

An unfinished file has a name of this module and is locked by the process that writes it. The lock ends with the
process, so the next one that writes in the same folder knows what a killed one left, and removes it.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from asteroid_stab.errors import StabError
from asteroid_stab.locks import OPEN_FILES_MOVE, given_back, lock, lock_if_possible, unlock

_UNFINISHED = re.compile(r"\.asteroid-stab-[0-9a-f]{12}\.tmp(\..*)?")
_PROBE_BYTES = 1 << 16
_LONGEST_SUFFIX = 32
_REMOVAL_S = 0.2  # for which a process that removes unfinished files may hold one
_writing: set[Path] = set()  # unfinished files of this process


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A place to write the new ``path`` to; it takes the old one's place if the block ends well, else it is removed.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "folder" / "a.txt"
        >>> with replacing(path) as new:
        ...     _ = new.write_text("whole")
        >>> path.read_text()
        'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: soundfile and others read the format off it.
    with _unfinished(path.parent, path.suffix) as (beside, locks):
        yield beside
        with open(beside, "r+b") as written:  # Windows sees to the disk only for who may write
            os.fsync(written.fileno())  # or a full disk might only show after the old file is gone
        if not OPEN_FILES_MOVE:
            while locks:
                unlock(locks.pop())
        os.replace(beside, path)


@contextmanager
def working_folder(parent: str | os.PathLike[str]) -> Iterator[Path]:
    """A hidden folder in ``parent`` for unfinished files; it is removed at the end, with all that is in it."""
    Path(parent).mkdir(parents=True, exist_ok=True)
    with _unfinished(Path(parent), None) as (folder, _):
        yield folder


def write_text(path: str | Path, text: str) -> None:
    """Writes ``text`` to ``path``, whole or not at all."""
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8", newline="\n")  # the same bytes on every system


@contextmanager
def making(path: str | os.PathLike[str], advice: str | None = None) -> Iterator[None]:
    """Holds the name ``path`` for this process while it makes that file; what is needed of the folder is made.

    Args:
        path: the file.
        advice: what the user can do while another process makes it, for the message; None waits for the other instead.

    Raises:
        StabError: another process makes it.
    """
    path = Path(path)
    absent = _absent(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A lock that a killed process left is removed as its unfinished files are.
    claim = path.with_name(f".asteroid-stab-{hashlib.sha256(path.name.encode()).hexdigest()[:12]}.tmp.lock")
    descriptor = _hold(claim, advice is None)
    if descriptor is None:
        raise StabError(f"{path} is being written by another process: {advice}")
    _writing.add(claim)
    try:
        yield
    finally:
        with given_back(descriptor):
            claim.unlink(missing_ok=True)
            _writing.discard(claim)
            _remove_empty(absent)


def _hold(claim: Path, wait: bool) -> int | None:
    """Makes and locks a file; None where another process has it."""
    deadline = time.monotonic() + _REMOVAL_S
    while True:
        os.close(os.open(claim, os.O_CREAT | os.O_RDWR, 0o666))
        try:
            return lock_if_possible(claim, wait)
        except FileNotFoundError:  # its holder has just removed it
            continue
        except BlockingIOError:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)  # the other may only be removing it, as it was not locked yet


def check_writable(folder: str | os.PathLike[str], mend: str) -> None:
    """Checks that files can be written into ``folder``, before work begins whose result will be written there.

    Args:
        folder: the folder; if it is not there, it is made for the check.
        mend: what the user can do, for the message.

    Raises:
        StabError: the folder cannot be made or written, or its disk is full.
    """
    folder = Path(folder)
    absent = _absent(folder)
    try:
        with working_folder(folder) as place, open(place / "probe", "wb") as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise StabError(f"cannot write to {str(folder)!r}: {error.strerror}; {mend}") from error
    finally:
        _remove_empty(absent)


def remove_unfinished(folder: str | os.PathLike[str]) -> None:
    """Removes what killed processes left unfinished in ``folder``; the work of running ones is locked, and stays."""
    try:
        found = [entry.name for entry in os.scandir(folder) if _UNFINISHED.fullmatch(entry.name)]
    except OSError:  # no such folder, or one that may not be listed: there is nothing that we could remove
        return
    for name in found:
        path = Path(folder, name)
        try:
            descriptor = lock(path)
        except OSError:  # a running process has it or has just removed it, or it is not ours to open
            continue
        with given_back(descriptor):
            _remove(path)


def remove_own() -> None:
    """Removes what this process is writing, because it is about to end without going back to the writers."""
    for path in [*_writing]:
        with suppress(OSError):
            _remove(path)


@contextmanager
def _unfinished(folder: Path, suffix: str | None) -> Iterator[tuple[Path, list[int]]]:
    """A new, locked file with this suffix in ``folder``, or for None a folder; removed at the end if it is there.

    Its lock comes in a list, from which it is taken where it is given back before.
    """
    remove_unfinished(folder)
    path, descriptor = _new(folder, suffix)
    locks = [] if descriptor is None else [descriptor]
    _writing.add(path)
    try:
        yield path, locks
    finally:
        with given_back(locks.pop()) if locks else nullcontext():
            _remove(path)
            _writing.discard(path)


def _new(folder: Path, suffix: str | None) -> tuple[Path, int | None]:
    while True:
        ending = suffix if suffix is not None and len(suffix) <= _LONGEST_SUFFIX else ""
        path = folder / f".asteroid-stab-{secrets.token_hex(6)}.tmp{ending}"
        if suffix is None:
            path.mkdir()
        else:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            return path, lock(path)
        except (BlockingIOError, FileNotFoundError):  # somebody who removes unfinished files was faster than the lock
            continue
        except OSError:  # a file system without locks: nobody removes what is not locked there
            return path, None


def _absent(folder: Path) -> list[Path]:
    """The folders, from the innermost, that would be made with ``folder``."""
    return [place for place in (folder, *folder.parents) if not place.exists()]


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):  # something is in it, or it was never made
        for folder in folders:
            folder.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
