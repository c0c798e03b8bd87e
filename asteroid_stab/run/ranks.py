"""Processes of a training that end together: where one is lost, stopped or refused, all end, with its number."""

from __future__ import annotations

import math
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
import torch.distributed as dist

from asteroid_stab.errors import StabError, some
from asteroid_stab.run.meeting import KEYS, LEAVE_S, REFUSED, count_ended, is_of_exchange, store_client, word_of
from asteroid_stab.signals import end_process, received

SILENT_S = 30
"""Seconds without a sign of life after which a process counts as lost."""
LATE_S = 60
"""Seconds after which a process is named that has not come yet: nobody can know whether it ever will."""
_N_REFUSED = 3


class RankLostError(Exception):
    """Another process of the training has ended or is silent.

    Args:
        message: which one, and what is known of it.
        status: the exit status that all processes end with.
    """

    def __init__(self, message: str, status: int = 1):
        super().__init__(message)
        self.status = status


class RankWatch:
    """Watches the other processes of a training, as a context around it; does nothing where there is one process.

    Each process leaves a sign of life every second in the store through which torch's processes meet, and looks for the
    others'. Where one has ended before the training did, or has been silent for :data:`SILENT_S` seconds (stopped, or
    its machine is gone), this process ends: the main thread with :class:`RankLostError`, or, where it is held up (in an
    exchange with the lost process, in the preparation of its data), with a line and exit status from here.

    It begins as soon as there is a trainer, so that a file that one machine lacks ends the training on all.

    Args:
        trainer: Lightning's, before ``fit``.
        report: prints the line of a process that has to be ended.

    Raises:
        RankLostError: another process is lost, and this one's exchange with it has failed.
    """

    def __init__(self, trainer: pl.Trainer, report: Callable[[str], None]):
        self.n_ranks, self.rank, self.report = trainer.world_size, 0, report
        if self.n_ranks > 1:
            strategy: Any = trainer.strategy
            strategy.set_world_ranks()
            here = strategy.cluster_environment
            self.rank, self.n_local = here.global_rank(), strategy.num_processes
            self.place = (here.main_address, here.main_port)
            self.launcher = strategy.launcher  # there is one also where SLURM or torchrun starts the processes
            self.starts_all = not here.creates_processes_externally and self.n_local == self.n_ranks
            self.is_first_of_all = self.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        self.lost: RankLostError | None = None
        self._silent = dict.fromkeys(set(range(self.n_ranks)) - {self.rank}, 0)
        self._signs: dict[int, str] = {}
        self._known, self._over = threading.Event(), threading.Event()
        self._stalled, self._has_left = 0, False
        self._store: dist.TCPStore | None = None
        self._held: dist.TCPStore | None = None
        self._know: set[int] = set()  # processes that know that one is lost

    def __enter__(self) -> RankWatch:
        if self.n_ranks > 1:
            if self.is_first_of_all:
                with suppress(RuntimeError):  # the port is taken: the process group says so
                    self._held = store_client(*self.place, timedelta(seconds=LEAVE_S), host=True)
            for task in (self._exchange, self._judge):
                threading.Thread(target=task, name=f"rank-watch{task.__name__}", daemon=True).start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, at: Any) -> None:
        if self.n_ranks == 1:
            return
        if received() is not None:
            self.leave(f"was ended by {signal.Signals(received() or 0).name}", 128 + (received() or 0))
        elif error is None:
            if not self._has_left:
                self.leave("", 0)
            self._linger(self.rank == 0)  # the store is here: the others should find this word before it is gone
        else:
            if is_of_exchange(error):  # the other end is gone: which one shows in a moment
                self._known.wait(SILENT_S + 2 * LEAVE_S)
            if self.lost is None:
                self.leave(f"ended with {word_of(error)}", 2 if isinstance(error, StabError) else 1)
                self._linger(True)  # the store, or the launcher that holds it, may end with this process
            # Others may still be starting, and the store may not be there yet: the caller then waits to report.
            all_are_here = self._store is not None and set(self._silent) <= set(self._signs)
            error.reported = all_are_here or self.lost is not None or self.starts_all  # type: ignore[attr-defined]
        self._over.set()
        if error is not None or received() is not None:
            self._end_children()
        if self.lost is not None and received() is None and error is not None and is_of_exchange(error):
            raise self.lost from None

    def _linger(self, waits: bool) -> None:
        deadline = time.monotonic() + 2 * LEAVE_S
        while waits and set(self._signs) & set(self._silent) - self._know and time.monotonic() < deadline:
            time.sleep(0.1)

    def leave(self, word: str, status: int) -> None:
        """Reports to the other processes that this one ends.

        Args:
            word: why; empty where the training is over.
            status: exit status that they should end with.
        """

        def report() -> None:
            with suppress(Exception):
                if self._store is not None and self.lost is None:
                    self._store.set(f"{KEYS}/left/{self.rank}", f"{status} {word}")

        self._has_left = True
        thread = threading.Thread(target=report, daemon=True)  # the store does not answer where its host is stopped
        thread.start()
        thread.join(LEAVE_S)

    def _exchange(self) -> None:
        while self._store is None and not self._over.is_set():
            with suppress(Exception):
                self._store = store_client(*self.place, timedelta(seconds=LEAVE_S))
        count = n_refused = 0
        while not self._over.is_set():
            try:
                self._round(count)
                self._stalled = n_refused = 0
            except dist.DistNetworkError:  # closed, not silent: the host's process is gone
                n_refused += 1
                if n_refused == _N_REFUSED and 0 in self._silent:
                    self._lose(f"rank 0 of {self.n_ranks} has ended: its connection is closed", 1)
                    return self._know.update(self._silent)
            except RuntimeError:  # no answer in time
                pass
            count += 1
            self._over.wait(1.0)

    def _round(self, count: int) -> None:
        """Leaves a sign of life and looks for the others'; where its host is stopped, the store does not answer."""
        store: Any = self._store
        store.set(f"{KEYS}/alive/{self.rank}", f"{count} {os.getpid()} {platform.node()}")
        if store.check([REFUSED]) and self.lost is None:
            self._lose(store.get(REFUSED).decode(), 2)
            count_ended(store)
        for rank in list(self._silent):
            left, alive = f"{KEYS}/left/{rank}", f"{KEYS}/alive/{rank}"
            if store.check([f"{KEYS}/knows/{rank}"]):
                self._know.add(rank)
            if store.check([left]):
                status, _, word = store.get(left).decode().partition(" ")
                if word:
                    self._lose(f"rank {rank} of {self.n_ranks} {word}", int(status))
                    count_ended(store)
                del self._silent[rank]
            elif not store.check([alive]) or self._signs.get(rank) != (sign := store.get(alive).decode()):
                self._silent[rank] = 0
                if store.check([alive]):
                    self._signs[rank] = sign
        if self.lost is not None or self._has_left:
            store.set(f"{KEYS}/knows/{self.rank}", "")

    def _judge(self) -> None:
        """Counts own seconds: where this process was stopped itself, the others' silence does not count."""
        deadline = time.monotonic() + LATE_S
        while not self._over.wait(1.0) and self.lost is None:
            self._stalled += 1
            late = [f"rank {rank}" for rank in sorted(set(self._silent) - set(self._signs))]
            if late and not self.starts_all and time.monotonic() > deadline:  # Lightning starts them when it needs them
                print(f"waits for {some(late)} of {self.n_ranks}: no sign of life yet", file=sys.stderr, flush=True)
                deadline = math.inf
            self._calm_observer()
            host_is_silent = self._stalled > SILENT_S and 0 in self._silent and bool(self._signs)
            for rank in list(self._silent):
                self._silent[rank] += 1 if self._signs.get(rank) else 0
            silent = [0] if host_is_silent else [rank for rank, n in self._silent.items() if n > SILENT_S]
            if silent and (host_is_silent or self._stalled < SILENT_S):
                word = f"has given no sign of life for {SILENT_S} s: it is stopped or dead, or its machine is gone"
                self._end_silent(silent[0])
                self._lose(f"rank {silent[0]} of {self.n_ranks} {word}", 1)
            for rank, code in self._ended_children():
                self._over.wait(2.0)  # it may have left a word, which says more
                self._lose(f"rank {rank} of {self.n_ranks} {_how(code)}", 1)
        if self.lost is not None and not self._over.wait(LEAVE_S) and received() is None:
            self._end_children()
            self.report(str(self.lost))
            end_process(self.lost.status)

    def _lose(self, message: str, status: int) -> None:
        if self.lost is None and not self._has_left and not self._over.is_set() and received() is None:
            self.lost = RankLostError(message, status)
        self._known.set()

    def _children(self) -> list[subprocess.Popen[bytes]]:
        return list(getattr(self.launcher, "procs", ()))

    def _ended_children(self) -> list[tuple[int, int]]:
        """Returns rank and exit status of the processes that this one has started and that have failed."""
        first = self.rank // self.n_local * self.n_local + 1
        return [(first + i, child.returncode) for i, child in enumerate(self._children()) if child.poll()]

    def _end_children(self) -> None:
        """Ends the processes that this one has started; they have seconds to do so by themselves."""
        deadline = time.monotonic() + LEAVE_S
        for child in self._children():
            with suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - time.monotonic()))
            if child.poll() is None:
                child.kill()  # also where it is stopped

    def _end_silent(self, rank: int) -> None:
        """Ends a silent process of this machine: it may be stopped, and would wait for the others once it goes on."""
        _, pid, host = self._signs[rank].split(" ", 2)
        if host == platform.node():
            with suppress(OSError):
                os.kill(int(pid), getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows ends it on any signal

    @staticmethod
    def _calm_observer() -> None:
        """Keeps Lightning's observer from killing this process without a word as soon as a child has failed."""
        for thread in threading.enumerate():
            if thread.name == "child-process-observer":
                thread._child_processes = []  # type: ignore[attr-defined]


def _how(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
