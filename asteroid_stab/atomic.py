"""Files that are complete or absent: written beside their place and moved there."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]  # process numbers mean something on one machine only
_UNFINISHED = re.compile(r"\.(\d+)-([0-9a-f]{8})\..+")
_searched: set[tuple[int, Path]] = set()  # folders in which this process has looked for what dead ones left
_writing: set[Path] = set()


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
    remove_left(path.parent)
    # The suffix stays last: soundfile and others read the format off it.
    new = path.with_name(f".{os.getpid()}-{_HOST}.{path.name}")
    _writing.add(new)
    try:
        yield new
        with open(new, "rb") as written:
            os.fsync(written.fileno())  # or a full disk might only show after the old file is gone
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
        _writing.discard(new)


def write_text(path: str | Path, text: str) -> None:
    """Writes ``text`` to ``path``, whole or not at all."""
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8")


def remove_unfinished() -> None:
    """Removes what this process is writing, because it is about to end without going back to the writers."""
    for path in list(_writing):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def remove_left(folder: Path) -> None:
    """Removes the unfinished files of dead processes of this machine from a folder, once for each process.

    A process that is killed cannot remove what it was writing. Files of other machines stay: nothing here says whether
    their processes live.
    """
    key = (os.getpid(), folder.absolute())
    if key in _searched:
        return
    _searched.add(key)
    for name in _names(folder):
        found = _UNFINISHED.fullmatch(name)
        if found and found[2] == _HOST and not _lives(int(found[1])):
            with suppress(OSError):  # another process was faster, or the folder is not ours to change
                (folder / name).unlink()


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True
