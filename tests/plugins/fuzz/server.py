"""Runs the program on one input in a process of its own, forked from this one, which has all imports done."""

from __future__ import annotations

import importlib
import os
import pkgutil
import resource
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STATUSES = {0, 2, 75, 130, 143, 141}
"""Exit statuses that the README documents."""
CPU_S, WALL_S = 60, 240
"""A hang is more processor time than this, or more time on the clock, which other work on the machine lengthens."""
MEMORY = 2 * 2**30
"""Resident bytes that a process must stay below; what all have in common, the imports, counts too."""
_HARD_MEMORY = 3 * 2**30  # of private pages; beyond it an allocation fails, as on a small machine


@dataclass(frozen=True)
class Outcome:
    """What became of an input.

    Attributes:
        status: exit status; negative: the signal that ended the process.
        text: what it printed, both streams.
        seconds: on the clock.
        memory: largest resident size of the process, in bytes.
        hung: whether it took too long and was killed.
    """

    status: int
    text: str
    seconds: float
    memory: int
    hung: bool

    @property
    def faults(self) -> list[str]:
        """What must not have happened, by name; an allocation that failed counts as memory."""
        found = {
            "traceback": "Traceback (most recent call last)" in self.text,
            "hang": self.hung,
            "status": not self.hung and self.status not in STATUSES,
            "memory": self.memory > MEMORY or "not enough memory" in self.text,
        }
        return [name for name, wrong in found.items() if wrong]


def import_all() -> None:
    """Imports the package and what it imports late, once for all inputs."""
    import hydra
    import matplotlib.pyplot  # noqa: F401
    import pandas  # noqa: F401
    import rich.progress  # noqa: F401
    import scipy.signal  # noqa: F401
    import torch

    import asteroid_stab

    assert hydra
    for module in pkgutil.walk_packages(asteroid_stab.__path__, "asteroid_stab."):
        if module.name.endswith("__main__") or module.name.startswith("asteroid_stab.integrations."):
            continue  # the latter need toolkits, and no verb imports them
        importlib.import_module(module.name)
    torch.set_num_threads(1)


def run(words: list[str], folder: Path) -> Outcome:
    """Runs ``asteroid-stab WORDS`` in ``folder``."""
    output, started = folder / "output.txt", time.monotonic()
    pid = os.fork()
    if pid == 0:
        _child(words, folder, output)
    deadline, hung = started + WALL_S, False
    pause = 0.002
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            hung = True
            os.killpg(pid, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(pause)
        pause = min(0.05, 1.5 * pause)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # workers that it may have left
    code = os.waitstatus_to_exitcode(status)
    hung = hung or code == -signal.SIGXCPU
    text = output.read_text(encoding="utf-8", errors="replace") if output.is_file() else ""
    return Outcome(code, text, time.monotonic() - started, usage.ru_maxrss * 1024, hung)


def _child(words: list[str], folder: Path, output: Path) -> None:
    """Becomes the program; never returns."""
    status = 99
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 5))
        resource.setrlimit(resource.RLIMIT_DATA, (_HARD_MEMORY, _HARD_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.chdir(folder)
        stream = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        from asteroid_stab.cli.main import main

        try:
            status = main(words)
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
