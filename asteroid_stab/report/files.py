"""Reads the files of a run folder; ``None`` where a file does not exist."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from asteroid_stab.errors import StabError
from asteroid_stab.report.shapes import misfit
from asteroid_stab.run.epochs import shown_epoch

TEXT_COLUMNS = ("id", "name", "class")  # of utterances.csv; every other column holds numbers
COUNTERS = ("epoch", "layer")
MOST = 2**31  # of anything that is counted


def read_json(path: Path, shape: Any) -> Any:
    """The content of a JSON file, or ``None`` where the file does not exist.

    Args:
        path: the file.
        shape: what it must hold; see :func:`~asteroid_stab.report.shapes.misfit`.

    Raises:
        StabError: it is not JSON, or something else.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise StabError(f"{path} must hold JSON, got {error}") from error
    check_shape(content, shape, path)
    return content


def check_shape(content: Any, shape: Any, path: Path) -> None:
    """Checks the content of a JSON file.

    Raises:
        StabError: it has another shape.
    """
    if fault := misfit(content, shape):
        raise StabError(f"{path} cannot be used: {fault}")


def read_table(path: Path, needed: Sequence[str]) -> pd.DataFrame | None:
    """The rows of a CSV file, or ``None`` where it does not exist or has no rows; epochs are counted from 1, as shown.

    Args:
        path: the file.
        needed: columns that it must have.

    Raises:
        StabError: a needed column is missing, or a column of numbers holds something else.
    """
    if not path.is_file() or path.stat().st_size == 0:
        return None
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)  # a mixture may have the name "NA"
        missing = [column for column in needed if column not in table]
        if missing:
            raise ValueError(f"no column {missing[0]!r}")
        for column in table.columns.difference(TEXT_COLUMNS):
            values = table[column].replace("", "nan").astype(float)
            if column in COUNTERS and not (values.between(0, MOST) & (values % 1 == 0)).all():
                raise ValueError(f"{column} with an entry that is no whole number from 0")
            # A training that diverged logs infinities, which no axis can show.
            table[column] = values.astype(int) if column in COUNTERS else values.where(np.isfinite(values))
    except ValueError as error:  # pandas' ParserError and EmptyDataError are ValueErrors
        wanted = ", ".join(needed)
        raise StabError(f"{path} must be a table with the columns {wanted}, got {error}") from error
    if "epoch" in table:
        table["epoch"] = shown_epoch(table["epoch"])
    return None if table.empty else table
