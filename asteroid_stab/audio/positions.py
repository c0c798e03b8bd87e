"""Reading and writing at a place in a file, by many threads at once."""

from __future__ import annotations

import os
import threading

_moving = threading.Lock()


def read_at(descriptor: int, out: memoryview, offset: int) -> int:
    """Reads from a place in a file; the system may give less than was asked for.

    Where a system reads at no place (Windows), the file is first moved there, by one thread at a time.

    Args:
        descriptor: of a file that is open for reading, in binary mode.
        out: is filled from its beginning, with at most its length in bytes.
        offset: the place, in bytes.

    Returns:
        The number of bytes read; 0 at the end of the file.

    Raises:
        OSError: the system cannot read it.
    """
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [out], offset)
    with _moving:
        os.lseek(descriptor, offset, os.SEEK_SET)
        read = os.read(descriptor, len(out))
    out[: len(read)] = read
    return len(read)


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Writes all of ``data`` at a place in a file; the system may take it in several parts.

    Args:
        descriptor: of a file that is open for writing, in binary mode.
        data: the bytes.
        offset: the place, in bytes.

    Raises:
        OSError: the system cannot write it.
    """
    view = memoryview(data)
    while view:
        if hasattr(os, "pwrite"):
            n_written = os.pwrite(descriptor, view, offset)
        else:
            with _moving:
                os.lseek(descriptor, offset, os.SEEK_SET)
                n_written = os.write(descriptor, view)
        view, offset = view[n_written:], offset + n_written
