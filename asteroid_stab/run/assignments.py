"""Assignments of all training items in a run folder: written epoch by epoch, read as fixed labels."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asteroid_stab.atomic import replacing, write_text
from asteroid_stab.errors import StabError

FOLDER = "assignments"
"""In the run folder."""
UNSEEN = -1
"""Stands for an item that was not seen in an epoch."""


def write_items(run_dir: Path, names: Sequence[str], fingerprint: str) -> None:
    """Writes whose assignments these are: ``items.csv`` (id and name) and ``fingerprint.txt``.

    Args:
        run_dir: the run folder.
        names: the items' names by id.
        fingerprint: of the corpus.
    """
    with replacing(run_dir / FOLDER / "items.csv") as new, open(new, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("id", "name"), *enumerate(names)])
    write_text(run_dir / FOLDER / "fingerprint.txt", fingerprint + "\n")


def write_epoch(run_dir: Path, epoch: int, table: np.ndarray) -> None:
    """Writes an epoch's assignments.

    Args:
        run_dir: the run folder.
        epoch: counted from 0.
        table: int8 [K, N, J], -1 where an item was not seen.
    """
    with replacing(run_dir / FOLDER / f"epoch_{epoch:04d}.npy") as new:
        np.save(new, table)


def read_labels(run_dir: Path, epoch: int | None = None) -> tuple[np.ndarray, str]:
    """The last layer's assignments in an epoch, and the fingerprint of the corpus that they belong to.

    Items that were not seen in that epoch (an incomplete last batch is left out) have those of the last one before
    it in which they were.

    Args:
        run_dir: a run folder, in which ``AssignmentTracker`` wrote its tables.
        epoch: counted from 0; None: the last.

    Returns:
        int64 [N, J], -1 for items that were never seen; and the fingerprint.

    Raises:
        StabError: the folder has no such table.
    """
    folder = run_dir / FOLDER
    epochs = sorted(int(m[1]) for path in folder.glob("epoch_*.npy") if (m := re.fullmatch(r"epoch_(\d+)", path.stem)))
    if not epochs or not (folder / "fingerprint.txt").is_file():
        raise StabError(
            f"{run_dir} has no table of assignments ({FOLDER}/epoch_*.npy and fingerprint.txt), which "
            "AssignmentTracker(save=True) writes in training"
        )
    wanted = epochs[-1] if epoch is None else epoch
    if wanted not in epochs:
        raise StabError(f"{run_dir} has assignments of epochs {epochs[0]} to {epochs[-1]}, got epoch {wanted}")
    labels: np.ndarray | None = None
    for earlier in reversed([e for e in epochs if e <= wanted]):
        try:
            table = np.load(folder / f"epoch_{earlier:04d}.npy")[-1]
        except (OSError, ValueError, IndexError) as error:
            raise StabError(f"cannot read {folder / f'epoch_{earlier:04d}.npy'}: {error}") from error
        labels = table if labels is None else np.where(labels == UNSEEN, table, labels)
        if (labels != UNSEEN).all():
            break
    assert labels is not None
    return labels.astype(np.int64), (folder / "fingerprint.txt").read_text().strip()
