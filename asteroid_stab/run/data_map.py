"""The data map of a run: mean, spread and switches of every training item, as a file of the run folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from asteroid_stab.atomic import replacing
from asteroid_stab.errors import StabError, cause
from asteroid_stab.run.layout import RunLayout

COLUMNS = ("visits", "mean_db", "spread_db", "switches")
"""Columns of the table, by item; an item without a visit has zeros."""
_LARGEST = 1e30  # of any number, as in the report's tables


def write_map(run_dir: Path, table: np.ndarray) -> None:
    """Writes the map; the one of the epoch before stays whole until the new one is complete.

    Args:
        run_dir: the run folder.
        table: float32 [N, 4], see ``COLUMNS``.
    """
    with replacing(RunLayout(run_dir).data_map) as new:
        np.save(new, table)


def read_map(file: Path) -> np.ndarray | None:
    """Returns a map [N, 4], which may come from anybody; None where there is no file.

    Raises:
        StabError: it is no data map.
    """
    if not file.is_file():
        return None
    try:
        mapped = np.load(file, mmap_mode="r", allow_pickle=False)  # a header may claim more than the file has
        if mapped.ndim != 2 or mapped.shape[1] != len(COLUMNS) or mapped.dtype.kind != "f" or not len(mapped):
            raise ValueError(f"it holds {list(mapped.shape)} values of type {mapped.dtype}")
        table = np.array(mapped, dtype=np.float64)
        if not (np.abs(table) < _LARGEST).all() or (table[:, [0, 2, 3]] < 0).any():
            raise ValueError("it holds counts below 0 or values that are not finite")
    except Exception as error:  # NumPy reads the header as Python, whose parser has errors of its own
        raise StabError(f"{file} is no readable data map ({cause(error)}): remove it") from error
    return table
