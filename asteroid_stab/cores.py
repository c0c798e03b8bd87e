"""The cores of this machine, and how many processes may share them."""

from __future__ import annotations

import os

_OF_A_CORE = 4
_IN_ANY_CASE = 32  # they may wait for a disk or another machine; and a small machine should refuse few configs


def available_cores() -> int:
    """Returns the cores that this process may use; a job of a cluster may have some of its machine's only."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def most_processes() -> int:
    """Returns how many processes one machine may be asked for: 4 for each of its cores, and 32 in any case."""
    return max(_IN_ANY_CASE, _OF_A_CORE * (os.cpu_count() or 1))


def check_processes(name: str, n_processes: int) -> int:
    """Checks that a number of processes is not beyond reason, before the first one is started.

    Args:
        name: of the argument, for the message.
        n_processes: processes on this machine.

    Returns:
        ``n_processes``.

    Raises:
        ValueError: there are more than :func:`most_processes`.

    Example:
        >>> check_processes("num_workers", 8)
        8
    """
    if n_processes > (most := most_processes()):
        n_cores = os.cpu_count() or 1
        raise ValueError(
            f"{name} must be at most {most} on this machine, got {n_processes}: each is a process, and there may be "
            f"{_OF_A_CORE} for each of its {n_cores} cores, or {_IN_ANY_CASE} in any case"
        )
    return n_processes
