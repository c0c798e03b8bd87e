"""The start of a training of several processes: all from the same checkpoint, or none at all."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch.distributed as dist

from asteroid_stab.errors import StabError
from asteroid_stab.run.checkpoints import progress_of


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
