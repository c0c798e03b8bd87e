"""The start of a training of several processes: all from the same checkpoint, or none at all."""

from __future__ import annotations

import os
import platform
import sys
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
import torch.distributed as dist

from asteroid_stab.errors import StabError
from asteroid_stab.run.checkpoints import progress_of
from asteroid_stab.run.ranks import LEAVE_S, REFUSED, store_client
from asteroid_stab.signals import received

_MEET_S = 45  # a process that is refused waits so long for the others, to report it to them


class SameStart(pl.Callback):
    """Checks that all processes of a training start from the same checkpoint, or all from none.

    Args:
        run_dir: the run folder.
        saved: the checkpoint's content; None where there is none.
    """

    def __init__(self, run_dir: Any, saved: dict[str, Any] | None):
        self.run_dir, self.start = str(run_dir), progress_of(saved)

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str | None = None) -> None:
        """Compares what the processes have found.

        Raises:
            StabError: a process has found something else than the first one.
        """
        if trainer.world_size == 1:
            return
        starts: list[Any] = [None] * trainer.world_size
        dist.all_gather_object(starts, self.start)
        for rank, start in enumerate(starts):
            if start != starts[0]:
                raise StabError(
                    f"all processes must start from the same checkpoint of {self.run_dir}, got {starts[0]} on rank 0 "
                    f"and {start} on rank {rank}: every machine must have the run folder, with the same files"
                )


def report_refusal(message: str) -> None:
    """Reports to the other processes of a training that this one could not start; returns when they know, or are late.

    Does nothing for a process that is alone, or whose launcher (torchrun) ends the others itself.
    """
    node = os.environ.get("NODE_RANK")
    address, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if node is None or address is None or port is None or "TORCHELASTIC_RUN_ID" in os.environ:
        return
    local = os.environ.get("LOCAL_RANK", "0")
    place = f"the process LOCAL_RANK={local} of machine NODE_RANK={node} ({platform.node()})"
    print(f"reports to the other processes of this training: {message}", file=sys.stderr, flush=True)
    deadline, host = time.monotonic() + _MEET_S, node == "0" and local == "0"
    while time.monotonic() < deadline and received() is None:
        with suppress(Exception):
            store = store_client(address, int(port), timedelta(seconds=LEAVE_S), host)
            store.set(REFUSED, f"{place} could not start: {message}")
            time.sleep(_MEET_S - LEAVE_S if host else 2.0)
            return
