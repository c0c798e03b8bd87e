"""Files that are complete or absent: written beside their place and moved there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield beside
        with open(beside, "rb") as written:
            os.fsync(written.fileno())  # or a full disk might only show after the old file is gone
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes ``text`` to ``path``, whole or not at all."""
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8")
