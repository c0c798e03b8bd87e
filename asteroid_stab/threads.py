"""Torch's number of threads, for as long as a block of code lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def torch_threads(n_threads: int) -> Iterator[None]:
    """Lets torch compute with ``n_threads`` threads on the CPU and restores the number that it had before.

    Args:
        n_threads: at least 1.

    Example:
        >>> import torch
        >>> before = torch.get_num_threads()
        >>> with torch_threads(3):
        ...     torch.get_num_threads()
        3
        >>> torch.get_num_threads() == before
        True
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
