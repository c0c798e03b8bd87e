"""One step of a study in a process of its own, which ends when the study does."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from asteroid_stab.locks import lock_if_possible, unlock
from asteroid_stab.run.study_steps import Steps

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_POLL_S = 0.05


@dataclass(eq=False)
class StudyProcess:
    """A step that is running.

    It is made before it starts: a signal may come within the start, and the process must end then too.

    Args:
        steps: the steps of the run.
        step: which of them.
        log: its output, which is locked as long as it lives.

    Attributes:
        process: the process; None where its start has not come back.
        started: when it was made.
        cpu_s: seconds that processors computed for it and its loaders, once it has ended.
    """

    steps: Steps
    step: str
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = field(default_factory=time.monotonic)
    cpu_s: float = 0.0

    def __post_init__(self) -> None:
        self.read, self._write = os.pipe()  # the process reads, and ends once nobody can write any more

    def start(self, words: Sequence[str], output: int) -> None:
        """Starts it; it shares the lock of its output."""
        # A session of its own keeps Ctrl-C from it, which the study passes on. The environment's own number of threads
        # goes before one.
        environment = {**ONE_THREAD, **os.environ}
        self.process = subprocess.Popen(
            words, stdin=self.read, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
        )  # fmt: skip

    def poll(self) -> int | None:
        """Returns its status; None as long as it lives."""
        assert self.process is not None
        before = _cpu_s_of_ended()  # no other process is waited for between the two
        status = self.process.poll()
        if status is not None and not self.cpu_s:
            self.cpu_s = _cpu_s_of_ended() - before
        return status

    def close(self) -> None:
        """Closes the pipe: a process that lives ends."""
        for descriptor in (self.read, self._write):
            os.close(descriptor)

    def ask_to_end(self) -> None:
        """Asks it to end, whether its start has come back or not."""
        if self.process is not None and hasattr(os, "killpg"):  # Windows' SIGTERM does not ask; the closed pipe does
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
        self.close()

    def wait(self, seconds: float) -> None:
        """Waits for its end, and ends it if it has not followed by then."""
        deadline = time.monotonic() + max(0.0, seconds)
        if self.process is None:  # there may be one all the same, which has the log
            while time.monotonic() < deadline and not _is_free(self.log):
                time.sleep(_POLL_S)
            return
        while self.poll() is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        if self.poll() is None:
            with suppress(ProcessLookupError):
                if hasattr(os, "killpg"):
                    os.killpg(self.process.pid, signal.SIGKILL)  # type: ignore[attr-defined]  # with its loaders
                else:
                    self.process.kill()  # its loaders follow it
            while self.poll() is None:
                time.sleep(_POLL_S)


def _cpu_s_of_ended() -> float:
    """Seconds that processors computed for all processes of this one that ended and were waited for; 0 on Windows."""
    used = os.times()
    return used.children_user + used.children_system


def _is_free(log: Path) -> bool:
    """Whether no process has a log."""
    try:
        unlock(lock_if_possible(log))
    except BlockingIOError:
        return False
    return True
