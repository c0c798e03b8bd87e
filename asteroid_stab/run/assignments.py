"""Assignments of all training items in a run folder: written after each epoch, read as fixed labels."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np

from asteroid_stab.atomic import replacing, write_text
from asteroid_stab.errors import StabError, cause
from asteroid_stab.run.layout import RunLayout

_CHUNK = 1 << 14  # rows that are written together
_QUOTED = re.compile('[,"\r\n]')  # what a cell is quoted for

UNSEEN = -1
"""Stands for an item that was not seen in an epoch."""


def write_items(run_dir: Path, names: Iterable[str], fingerprint: str) -> None:
    """Writes the items that the assignments belong to (id and name), and their fingerprint.

    Args:
        run_dir: the run folder.
        names: the items' names by id.
        fingerprint: fingerprint of the corpus.
    """
    run = RunLayout(run_dir)
    with replacing(run.items) as new, open(new, "w", newline="", encoding="utf-8") as file:
        file.write("id,name\n")
        numbered = enumerate(names)
        while rows := list(islice(numbered, _CHUNK)):
            if any(_QUOTED.search(name) for _, name in rows):
                csv.writer(file, lineterminator="\n").writerows(rows)
            else:  # in half the time, which is seconds for millions of items
                file.writelines(f"{item},{name}\n" for item, name in rows)
    write_text(run.fingerprint, fingerprint + "\n")


def write_epoch(run_dir: Path, epoch: int, table: np.ndarray) -> None:
    """Writes the assignments of an epoch.

    Args:
        run_dir: the run folder.
        epoch: counted from 0.
        table: int8 [K, N, J], -1 where an item was not seen.
    """
    with replacing(RunLayout(run_dir).assignments(epoch)) as new:
        np.save(new, table)


def read_labels(run_dir: Path, epoch: int | None = None) -> tuple[np.ndarray, str]:
    """Returns the last layer's assignments in an epoch, and the fingerprint of the corpus that they belong to.

    An item that was not seen in the epoch (an incomplete last batch is left out) has its assignment from the last
    epoch before in which it was seen.

    Args:
        run_dir: a run folder in which ``AssignmentTracker`` wrote its tables.
        epoch: counted from 0; None: the last.

    Returns:
        [N, J] in the integers of the table (int8), -1 for items that were never seen; and the fingerprint.

    Raises:
        StabError: the folder has no such table, or it cannot be read.
    """
    run = RunLayout(run_dir)
    tables = run.all_assignments()
    if not tables or not run.fingerprint.is_file():
        raise StabError(
            f"{run_dir} has no table of assignments ({run.assignments(0)} and so on, and {run.fingerprint}), which "
            "AssignmentTracker(save=True) writes in training"
        )
    first, last = min(tables), max(tables)
    wanted = last if epoch is None else epoch
    if wanted not in tables:
        raise StabError(f"{run_dir} has assignments of epochs {first} to {last}, got epoch {wanted} (counted from 0)")
    labels: np.ndarray | None = None
    for earlier in sorted((e for e in tables if e <= wanted), reverse=True):
        table = read_table(tables[earlier], (None, None, None))[-1]
        if labels is not None and table.shape != labels.shape:
            raise StabError(f"{tables[earlier]} is of another corpus: {list(table.shape)}, not {list(labels.shape)}")
        labels = table if labels is None else np.where(labels == UNSEEN, table, labels)
        if (labels != UNSEEN).all():
            break
    assert labels is not None
    return labels, run.fingerprint.read_text(encoding="utf-8", errors="replace").strip()


def read_table(file: Path, shape: tuple[int | None, ...]) -> np.ndarray:
    """Returns a table of assignments, which may come from anybody.

    Args:
        file: a file of ``numpy.save``.
        shape: the shape that it must have, sources last; None: any length.

    Raises:
        StabError: it is no table of assignments.
    """
    try:
        mapped = np.load(file, mmap_mode="r", allow_pickle=False)  # a header may claim more than the file has
        fits = mapped.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, mapped.shape, strict=True))
        if not fits or mapped.dtype.kind != "i" or not mapped.size:
            raise ValueError(f"it holds {list(mapped.shape)} values of type {mapped.dtype}")
        table = np.array(mapped)
        if table.min() < UNSEEN or table.max() >= table.shape[-1]:
            raise ValueError(f"an assignment of {table.shape[-1]} sources has {table.min()} to {table.max()}")
    except Exception as error:  # NumPy reads the header as Python, whose parser has errors of its own
        raise StabError(f"{file} is no readable table of assignments ({cause(error)}): remove it") from error
    return table
