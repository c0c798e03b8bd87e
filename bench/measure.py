"""How the benchmarks measure: the time of calls that take turns, and the peak memory of a call."""

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
from asteroid_stab.threads import torch_threads

Call = Callable[[], Any]


def take_turns(
    calls: Mapping[str, Call],
    n_rounds: int,
    budget_s: float,
    device: str,
    min_rounds: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every round of each call; they take turns, so that other work of the machine slows all of them.

    Args:
        calls: the calls to measure, by name.
        n_rounds: number of rounds of all calls, at most; one more round before them warms up.
        budget_s: no further round starts after this time, once there are ``min_rounds``.
        device: where they compute.
        min_rounds: number of rounds, at least.
        clock: times the calls; ``time.process_time`` leaves out the CPU time of other processes.

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


def least_times(
    calls: Mapping[str, Call],
    n_rounds: int,
    budget_s: float,
    device: str,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Least seconds of each call in rounds as of :func:`take_turns`.

    The least time is the time that the code needs: a shared machine adds to it and never takes away.
    """
    times = take_turns(calls, n_rounds, budget_s, device, clock=clock)
    return {name: min(values) for name, values in times.items()}


def peak_bytes(
    name: str,
    prepare: Callable[..., Call],
    args: tuple[Any, ...],
    warm_args: tuple[Any, ...],
    device: str,
    threads: int,
) -> int:
    """Peak memory of a call, in bytes beyond the memory that was in use before it.

    Tensors are counted, on a CPU (from the profiler's record) as on a GPU (by its allocator): the number is the same
    each time, whereas the resident set of a process depends on the memory that its allocator keeps. Memory that
    kernels use besides tensors (oneDNN's scratch) is not counted. The call runs in a process of its own, so that a
    call that runs out of memory does not end the benchmark.

    Args:
        name: name of the call, for the message.
        prepare: a function of a module; makes the call.
        args: arguments of ``prepare``.
        warm_args: arguments of ``prepare`` for a small call before, so that memory that libraries allocate once is
            not counted.
        device: where it computes.
        threads: torch's number of threads.

    Raises:
        StabError: the process was killed, as happens when memory runs out.
    """
    call = (prepare, args, warm_args, device, threads)
    if device.startswith("cuda"):
        return _peak_bytes_here(*call)
    context = get_context("forkserver")  # imports once
    context.set_forkserver_preload(["asteroid.losses", "asteroid_stab.losses", prepare.__module__])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_peak_bytes_here, *call).result()
        except BrokenProcessPool as error:
            raise StabError(
                f"the measurement of {name} was killed, probably because memory ran out: try fewer sources or items"
            ) from error


def _peak_bytes_here(
    prepare: Callable[..., Call], args: tuple[Any, ...], warm_args: tuple[Any, ...], device: str, threads: int
) -> int:
    import torch

    with torch_threads(threads):
        prepare(*warm_args)()
        call = prepare(*args)
        if device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
            call()
            return torch.cuda.max_memory_allocated(device) - before
        return peak_of_tensors(call)


def peak_of_tensors(call: Call) -> int:
    """Largest number of bytes that the CPU tensors made during a call held at one time."""
    from torch.profiler import ProfilerActivity, profile

    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # a CUDA build of torch warns on a machine without a GPU
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
        total += n_bytes if n_bytes > 0 else -held.pop(where, 0)  # tensors from before do not count
        most = max(most, total)
    return most
