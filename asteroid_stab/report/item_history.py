"""The assignments of training items from epoch to epoch, as the report reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from asteroid_stab.errors import StabError, nearest
from asteroid_stab.report.files import read_table
from asteroid_stab.run import assignments
from asteroid_stab.run.assignments import UNSEEN
from asteroid_stab.run.epochs import shown_epoch
from asteroid_stab.run.layout import RunLayout


@dataclass(frozen=True)
class History:
    """The assignments of one item in a run.

    Attributes:
        epochs: the epochs, counted from 1 as shown, [E].
        perm: the estimate that each source got in each epoch, -1 where the item was not seen, [E, J].
    """

    epochs: np.ndarray
    perm: np.ndarray

    @property
    def switched(self) -> np.ndarray:
        """Whether the item has another assignment than in the epoch before, [E]."""
        before = np.vstack([np.full_like(self.perm[:1], UNSEEN), self.perm[:-1]])
        return np.append(False, np.diff(self.epochs) == 1) & _differ(self.perm, before)


def read_history(run: RunLayout, item: int) -> History:
    """Reads the assignments of an item.

    Args:
        run: the run folder.
        item: its id.

    Raises:
        StabError: the run kept no assignments, one cannot be read, or it has no such item.
    """
    found = [(epoch, table) for epoch, table in _tables(run)]
    n_items = min(len(table) for _, table in found)
    if not 0 <= item < n_items:
        raise StabError(f"{run.root} has items 0 to {n_items - 1}, got item {item}")
    epochs = np.array([shown_epoch(epoch) for epoch, _ in found])
    return History(epochs, np.stack([table[item] for _, table in found]))


def count_item_switches(run: RunLayout) -> np.ndarray:
    """How often each item has switched between neighbouring epochs, [N].

    Raises:
        StabError: the run kept no assignments, or one cannot be read.
    """
    count, last = np.zeros(0, dtype=np.int64), (-2, np.zeros((0, 0), dtype=np.int8))
    for epoch, table in _tables(run):
        if not len(count):
            count = np.zeros(len(table), dtype=np.int64)
        if epoch == last[0] + 1:
            count += _differ(table, last[1])
        last = (epoch, table)
    return count


def find_item(run: RunLayout, wanted: str | None) -> tuple[int, str]:
    """Finds an item of a run.

    Args:
        run: the run folder.
        wanted: its id or its name; None for the item with the most switches, the first one of several.

    Returns:
        The id and the name.

    Raises:
        StabError: there is no such item, or the run has no list of them.
    """
    listed = read_table(run.items, ("id", "name"))
    if listed is None:
        raise StabError(f"{run.root} has no list of its training items ({run.items})")
    names = [str(name) for name in listed["name"]]
    if wanted is None:
        item = int(count_item_switches(run).argmax())
        if item >= len(names):
            raise StabError(f"{run.items} must list the {item + 1} items of the tables beside it, got {len(names)}")
    elif wanted in names:
        item = names.index(wanted)
    elif wanted.isdecimal() and int(wanted) < len(names):
        item = int(wanted)
    else:
        near = "" if wanted.isdecimal() else nearest(wanted, names)
        raise StabError(f"--item must be an id from 0 to {len(names) - 1} or a name, got {wanted!r}{near}")
    return item, names[item]


def check_same_items(runs: list[RunLayout]) -> None:
    """Checks that runs were trained on the same items, so that an id means one item in all of them.

    Raises:
        StabError: they were not.
    """
    digests = [run_digest(run) for run in runs]
    for run, digest in zip(runs, digests, strict=True):
        if digest != digests[0]:
            raise StabError(f"{run.root} was trained on other items than {runs[0].root}, which cannot be compared")


def run_digest(run: RunLayout) -> str:
    """Returns the fingerprint of a run's training items; empty where it kept none."""
    file = run.fingerprint
    return file.read_text(encoding="utf-8", errors="replace").strip() if file.is_file() else ""


def _tables(run: RunLayout) -> Iterator[tuple[int, np.ndarray]]:
    """The last layer's table [N, J] of each epoch in order, all of one shape."""
    files = run.all_assignments()
    if not files:
        raise StabError(
            f"{run.root} has no table of assignments ({run.assignments(0)} and so on), which "
            "AssignmentTracker(save=True) writes in training"
        )
    shape: tuple[int, ...] | None = None
    for epoch, file in sorted(files.items()):
        table = assignments.read_table(file, (None, None, None))[-1]
        shape = shape or table.shape
        if table.shape != shape:
            raise StabError(f"{file} is of another corpus: {list(table.shape)}, not {list(shape)}")
        yield epoch, table


def _differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether assignments of items that were seen in both differ, [N]."""
    return (a != UNSEEN).all(-1) & (b != UNSEEN).all(-1) & (a != b).any(-1)
