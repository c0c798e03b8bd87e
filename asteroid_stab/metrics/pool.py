"""Several processes that measure mixtures; a process that PESQ's C code kills is replaced."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process, resource_tracker
from typing import NamedTuple

import numpy as np

from asteroid_stab.cores import available_cores, check_processes
from asteroid_stab.errors import cause
from asteroid_stab.metrics.inactive import measure_active
from asteroid_stab.metrics.measured import Measured, undefined
from asteroid_stab.metrics.names import STANDARD
from asteroid_stab.metrics.separation_metrics import measure

# One thread for each process, because the processes already share the cores. The allocator keeps its pages: the arrays
# of one mixture are as large as those of the next, and fresh pages from the kernel cost up to a third of the time.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
}


class Item(NamedTuple):
    """One separated mixture.

    Attributes:
        key: returned with the result.
        mixture: [T].
        sources: [J, T].
        estimates: [J, T], in any order.
        inactive: whether silent sources are inactive, so that the metrics are of the others; else they are an error.
    """

    key: int
    mixture: np.ndarray
    sources: np.ndarray
    estimates: np.ndarray
    inactive: bool = False


class MetricPool:
    """Processes that call :func:`~asteroid_stab.metrics.separation_metrics.measure`.

    They start at once, so that their imports run while the caller loads a model. They are spawned, not forked, so that
    they behave the same on every system and share no memory with the caller.

    Args:
        sample_rate: of all mixtures, in Hz.
        metrics: the metrics to measure.
        n_jobs: number of processes; one for each core by default.

    Raises:
        ValueError: ``n_jobs`` is less than 1, or beyond reason on this machine.

    Example:
        >>> with MetricPool(8000, ["si_sdr"], n_jobs=1) as pool:  # doctest: +SKIP
        ...     results = dict(pool.run(Item(i, *signals) for i, signals in enumerate(mixtures)))
    """

    def __init__(self, sample_rate: int, metrics: Sequence[str] = STANDARD, n_jobs: int | None = None):
        self.n_jobs = available_cores() if n_jobs is None else n_jobs
        if self.n_jobs < 1:
            raise ValueError(f"n_jobs must be at least 1, got {n_jobs}")
        check_processes("n_jobs", self.n_jobs)
        self.sample_rate, self.metrics = sample_rate, tuple(metrics)
        self._executor = self._start()

    def __enter__(self) -> MetricPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def wait_until_started(self) -> None:
        """Returns when all processes have finished their imports, so that a measured time does not include them."""
        wait([self._executor.submit(_ready) for _ in range(4 * self.n_jobs)])

    def run(self, items: Iterable[Item]) -> Iterator[tuple[int, Measured]]:
        """Yields keys and results in the order in which they are ready.

        ``items`` is consumed only as fast as the processes keep up, so a generator that separates the mixtures runs
        beside them in bounded memory. A mixture that kills its process (PESQ's C code can) is measured once more on
        its own; if it kills that process too, all its metrics are undefined. The other mixtures are measured.
        """
        source = iter(items)
        pending: dict[Future[Measured], Item] = {}
        more = True
        while more or pending:
            suspects: list[Item] = []
            while more and len(pending) < 2 * self.n_jobs and not suspects:
                item = next(source, None)
                if item is None:
                    more = False
                    break
                try:
                    pending[self._submit(item)] = item
                except BrokenProcessPool:
                    suspects.append(item)
            done = wait(pending, return_when=FIRST_COMPLETED).done if pending else set()
            for future in done:
                item = pending.pop(future)
                try:
                    measured = future.result()
                except BrokenProcessPool:
                    suspects.append(item)
                else:
                    yield item.key, measured
            if suspects:
                suspects += pending.values()
                pending.clear()
                self._executor = self._start()
                for item in suspects:
                    yield item.key, self._alone(item)

    def _alone(self, item: Item) -> Measured:
        try:
            return self._submit(item).result()
        except BrokenProcessPool:
            self._executor = self._start()
            return undefined(self.metrics, len(item.sources), "the process that measured it died")

    def _submit(self, item: Item) -> Future[Measured]:
        return self._executor.submit(_measure, item, self.sample_rate, self.metrics)

    def _start(self) -> ProcessPoolExecutor:
        return start_processes(self.n_jobs, WORKER_ENVIRONMENT)


def _measure(item: Item, sample_rate: int, metrics: Sequence[str]) -> Measured:
    """Measures a mixture; signals on which the code of a metric fails do not end the others' measurement."""
    try:
        function = measure_active if item.inactive else measure
        return function(item.mixture, item.sources, item.estimates, sample_rate, metrics)
    except Exception as error:  # of five packages
        return undefined(metrics, len(item.sources), cause(error))


def start_processes(n_jobs: int, environment: dict[str, str]) -> ProcessPoolExecutor:
    """Spawns processes now, with changes to the environment; they end when this process ends."""
    executor = ProcessPoolExecutor(n_jobs, mp_context=get_context("spawn"), initializer=_follow_parent)
    with _environment(environment), _interrupts_held():
        for _ in range(n_jobs):  # each submission starts a process as long as none is idle
            executor.submit(_ready)
    return executor


@contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    """Changes the environment that new processes inherit; settings already read by this process do not change."""
    before = {key: os.environ.get(key) for key in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Keeps Ctrl-C from processes that start here, which would print a traceback each; this one gets it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its start would let interrupts through again; Windows has none
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # type: ignore[attr-defined]
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # type: ignore[attr-defined]


def _follow_parent() -> None:
    """Ignores interrupts, which the parent handles, and ends when the parent ends, even by SIGKILL."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _ready() -> None:
    """Imports the packages that :func:`measure` imports late."""
    import pb_bss_eval
    import pesq

    assert pb_bss_eval is not pesq
