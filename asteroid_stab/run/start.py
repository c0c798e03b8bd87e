"""The checkpoint that a training goes on from: within an epoch where that fits, else after the last whole one."""

from __future__ import annotations

from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from asteroid_stab.callbacks.run_checkpoint import WITHIN_EPOCH
from asteroid_stab.errors import StabError
from asteroid_stab.models.saved import read_saved
from asteroid_stab.run.epochs import shown_epoch
from asteroid_stab.run.layout import RunLayout

_WORDS = {
    "n_ranks": "the number of processes",
    "batch_size": "loader.batch_size",
    "accumulate": "trainer.accumulate_grad_batches",
    "limit": "trainer.limit_train_batches",
}
"""What must be the same to go on from a checkpoint within an epoch, in the words of the user."""


class Start(NamedTuple):
    """Where a training starts.

    Attributes:
        checkpoint: file that it goes on from; None: it starts with the first epoch.
        note: why it does not go on within the epoch that it was in; empty where there is nothing to say.
        unused: when the checkpoint within an epoch was written that it does not go on from, in ns; None: there is none.
    """

    checkpoint: Path | None
    note: str = ""
    unused: int | None = None

    def has_within(self, run: RunLayout) -> bool:
        """Whether there is a checkpoint within an epoch that a next training goes on from."""
        file = run.within_checkpoint
        return file.exists() and file.stat().st_mtime_ns != self.unused


def find_start(run: RunLayout, n_ranks: int, batch_size: int, accumulate: int, limit: float = 1.0) -> Start:
    """Returns where the training in a run folder starts.

    A checkpoint within an epoch is of as many processes and batches as wrote it: each has its own part of the epoch.

    Args:
        run: the run folder.
        n_ranks: number of processes.
        batch_size: items in a batch of one process.
        accumulate: batches for each step of the optimizer.
        limit: number of batches of an epoch, or, as a float, which part of them.

    Raises:
        StabError: the checkpoint within an epoch, or the one that it is compared with, is damaged.
    """
    last = run.last_checkpoint if run.last_checkpoint.exists() else None
    if not run.within_checkpoint.exists():
        return Start(last)
    try:
        within = _read(run.within_checkpoint)
        known = within.get(WITHIN_EPOCH)
        if not isinstance(known, dict) or not _is_within(known):
            raise StabError(f"{run.within_checkpoint} is no readable checkpoint: it is not one within an epoch")
    except StabError as error:
        raise StabError(f"{error}; remove it to go on {_otherwise(last)}") from error
    unused = run.within_checkpoint.stat().st_mtime_ns
    if last is not None and _read(last)["epoch"] >= within["epoch"]:
        return Start(last, unused=unused)  # a kill came between the end of the epoch and the removal of this checkpoint
    wanted = {"n_ranks": n_ranks, "batch_size": batch_size, "accumulate": accumulate, "limit": limit}
    for name, words in _WORDS.items():
        if repr(within[WITHIN_EPOCH][name]) != repr(wanted[name]):  # a limit of 1 is a batch, and 1.0 is all
            note = (
                f"{run.within_checkpoint} was written within epoch {shown_epoch(within['epoch'])} with "
                f"{words}={within[WITHIN_EPOCH][name]}, now it is {wanted[name]}: goes on {_otherwise(last)}"
            )
            return Start(last, note, unused)
    return Start(run.within_checkpoint)


def _read(path: Path) -> dict[str, Any]:
    saved = read_saved(path, "checkpoint")
    if not isinstance(saved, dict) or not isinstance(saved.get("epoch"), int):
        raise StabError(f"{path} is no readable checkpoint: it has no epoch")
    return saved


def _is_within(known: dict[str, Any]) -> bool:
    """Whether this is what a checkpoint within an epoch holds for its processes: a damaged one may hold anything."""
    ranks = known.get("ranks")
    numbers = all(name in known and isinstance(known[name], (int, float, NoneType)) for name in _WORDS)
    return numbers and isinstance(ranks, list) and all(isinstance(one, dict) for one in ranks)


def _otherwise(last: Path | None) -> str:
    return "with the first epoch again" if last is None else "after the last whole epoch"
