"""Tables of a run folder with a row for each training item: its data map, and what the stabilizers made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asteroid_stab.atomic import replacing
from asteroid_stab.errors import StabError, cause

_LARGEST = 1e30  # of any number, as in the report's tables


@dataclass(frozen=True)
class ItemTable:
    """A kind of table: float32 ``[N, C]``, by item; an item without a visit has zeros.

    Args:
        title: what it is, for messages.
        columns: names of its C columns.
        signed: columns whose numbers may be below 0.

    Example:
        >>> DATA_MAP.columns
        ('visits', 'mean_db', 'spread_db', 'switches')
    """

    title: str
    columns: tuple[str, ...]
    signed: tuple[str, ...] = ()

    def write(self, file: Path, table: np.ndarray) -> None:
        """Writes the table; the one of the epoch before stays whole until the new one is complete."""
        with replacing(file) as new:
            np.save(new, table)

    def read(self, file: Path) -> np.ndarray | None:
        """Returns a table, float64 ``[N, C]``, whose file may come from anybody; None where there is no file.

        Raises:
            StabError: it is no such table.
        """
        if not file.is_file():
            return None
        try:
            mapped = np.load(file, mmap_mode="r", allow_pickle=False)  # a header may claim more than the file has
            if mapped.ndim != 2 or mapped.shape[1] != len(self.columns) or mapped.dtype.kind != "f" or not len(mapped):
                raise ValueError(f"it holds {list(mapped.shape)} values of type {mapped.dtype}")
            table = np.array(mapped, dtype=np.float64)
            counts = [i for i, name in enumerate(self.columns) if name not in self.signed]
            if not (np.abs(table) < _LARGEST).all() or (table[:, counts] < 0).any():
                raise ValueError("it holds counts below 0 or values that are not finite")
        except Exception as error:  # NumPy reads the header as Python, whose parser has errors of its own
            raise StabError(f"{file} is no readable {self.title} ({cause(error)}): remove it") from error
        return table


DATA_MAP = ItemTable("data map", ("visits", "mean_db", "spread_db", "switches"), signed=("mean_db",))
"""Mean and spread of an item's metric over its visits, and its switches."""
ITEM_WEIGHTS = ItemTable("table of weights", ("visits", "dropped", "weight"))
"""Visits of an item that the stabilizers dropped, and its mean weight over all visits; 1 is the plain mean's weight."""
