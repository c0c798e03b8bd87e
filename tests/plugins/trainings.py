"""Trainings in processes of their own, whose lines are read as they come, on one rank or two."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from runs import PLUGINS

TWO = ["trainer=ddp", "trainer.devices=2", "loader.batch_size=4", "logger=none"]


class Training:
    """The command in a process of its own, whose lines are read as they come; ``launcher`` are torchrun's words."""

    def __init__(self, *words, cwd=None, launcher=(), **env):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PLUGINS), **env}
        self.process = subprocess.Popen(
            [sys.executable, *map(str, launcher), "-m", "asteroid_stab.cli.main", "train", *map(str, words)],
            env=environment, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        self.lines = []
        # A worker that Python's own fork left waiting for ever (seen once) must not keep the tests from ending.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def text(self):
        return "".join(self.lines)

    def wait_for(self, text):
        deadline = time.monotonic() + 300  # a busy machine starts two processes in minutes
        while text not in self.text and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert text in self.text, self.text

    def child(self):
        """The process of rank 1."""
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            for pid in (task / "children").read_text().split():
                if b"LOCAL_RANK=1" in Path(f"/proc/{pid}/environ").read_bytes():
                    return int(pid)
        raise AssertionError("there is no rank 1")

    def end(self, seconds=70):
        """Waits for the end; returns exit status and seconds."""
        started = time.monotonic()
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(5)
        return status, time.monotonic() - started


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
