"""How the benchmarks measure: calls that take turns, and the peak memory of a call in a process of its own."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from asteroid_stab.errors import StabError

Call = Callable[[], Any]


def take_turns(
    calls: Mapping[str, Call],
    n_rounds: int,
    budget_s: float,
    device: str,
    min_rounds: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every round of each call; they take turns, so that what else the machine does meets all.

    Args:
        calls: what is measured, by name.
        n_rounds: rounds of all calls, at most; one more before them warms up.
        budget_s: no further round is begun after this, once there are ``min_rounds``.
        device: where they compute.
        min_rounds: rounds at least.
        clock: of the calls; ``time.process_time`` leaves out what other processes take of a CPU.

    Example:
        >>> seconds = take_turns({"one": lambda: sum(range(9)), "other": lambda: None}, 5, 1.0, "cpu")
        >>> {name: len(values) for name, values in seconds.items()}
        {'one': 5, 'other': 5}
    """
    import torch

    def wait() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    seconds: dict[str, list[float]] = {name: [] for name in calls}
    begin = time.perf_counter()
    for n_done in range(-1, n_rounds):
        for name, call in calls.items():
            wait()
            start = clock()
            call()
            wait()
            if n_done >= 0:
                seconds[name].append(clock() - start)
        if n_done + 1 >= min_rounds and time.perf_counter() - begin > budget_s:
            break
    return seconds


def peak_bytes(
    what: str,
    prepare: Callable[..., Call],
    args: tuple[Any, ...],
    warm_args: tuple[Any, ...],
    device: str,
    threads: int,
) -> int:
    """Bytes that a call takes on top of what was there before it.

    What is counted is the tensors, on a CPU (the profiler's record of them) as on a GPU (its allocator's): the same
    number each time, where the resident set of a process goes with what its allocator keeps. What the kernels take
    beside tensors, oneDNN's scratch for one, is not in it. The call has a process of its own, so that one for which
    the memory does not suffice is told from the others.

    Args:
        what: what is measured, for the message.
        prepare: a function of a module; makes the call.
        args: of ``prepare``.
        warm_args: likewise, for a first small call: what the libraries keep for good is not counted.
        device: where it computes.
        threads: of torch.

    Raises:
        StabError: the process was killed, which is what happens where memory ends.
    """
    given = (prepare, args, warm_args, device, threads)
    if device.startswith("cuda"):
        return _peak_bytes_here(*given)
    context = get_context("forkserver")  # imports once
    context.set_forkserver_preload(["asteroid.losses", "asteroid_stab.losses", prepare.__module__])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_peak_bytes_here, *given).result()
        except BrokenProcessPool as error:
            raise StabError(
                f"the measurement of {what} was killed, probably for want of memory; fewer sources or items need less"
            ) from error


def _peak_bytes_here(
    prepare: Callable[..., Call], args: tuple[Any, ...], warm_args: tuple[Any, ...], device: str, threads: int
) -> int:
    import torch

    torch.set_num_threads(threads)
    prepare(*warm_args)()
    call = prepare(*args)
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    return peak_of_tensors(call)


def peak_of_tensors(call: Call) -> int:
    """Most bytes that tensors of a CPU held at a time during a call, of those that it made."""
    from torch.profiler import ProfilerActivity, profile

    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # a torch for CUDA on a machine without says so in red
    with tempfile.TemporaryDirectory() as folder:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
            call()
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    steps = sorted((event for event in events if event["name"] == "[memory]"), key=lambda event: event["ts"])
    held: dict[int, int] = {}
    most = total = 0
    for step in steps:
        where, n_bytes = step["args"]["Addr"], step["args"]["Bytes"]
        if n_bytes > 0:
            held[where] = n_bytes
        total += n_bytes if n_bytes > 0 else -held.pop(where, 0)  # what was there before is none of the call's
        most = max(most, total)
    return most
