"""A run folder's files as the report reads them: ``None`` where a file was never made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from asteroid_stab.errors import StabError
from asteroid_stab.run.epochs import shown_epoch

TEXT_COLUMNS = ("id", "name", "class")  # of utterances.csv; every other column holds numbers
COUNTERS = ("epoch", "layer")


def last_stage(metrics: pd.DataFrame) -> pd.DataFrame:
    """The epochs of ``metrics.csv`` whose models are as large as the last one: of a training in stages the last stage.

    Example:
        >>> last_stage(pd.DataFrame({"epoch": [0, 1, 2], "train/stage": [1, 2, 2]}))["epoch"].tolist()
        [1, 2]
        >>> last_stage(pd.DataFrame({"epoch": [0, 1]}))["epoch"].tolist()
        [0, 1]
    """
    if "train/stage" not in metrics:
        return metrics
    return metrics[metrics["train/stage"] == metrics["train/stage"].max()]


def read_json(path: Path) -> Any:
    """What a JSON file holds, or ``None`` where there is none.

    Raises:
        StabError: it holds something else.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise StabError(f"{path} must hold JSON, got {error}") from error


def read_table(path: Path, needed: Sequence[str]) -> pd.DataFrame | None:
    """The rows of a CSV file, or ``None`` where it is absent or has none; its epochs are counted from 1, as shown.

    Args:
        path: the file.
        needed: columns that it must have.

    Raises:
        StabError: it lacks one of them, or a cell of a column of numbers is none.
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
            table[column] = values.astype(int) if column in COUNTERS else values
    except ValueError as error:  # pandas' ParserError and EmptyDataError are ValueErrors
        wanted = ", ".join(needed)
        raise StabError(f"{path} must be a table with the columns {wanted}, got {error}") from error
    if "epoch" in table:
        table["epoch"] = shown_epoch(table["epoch"])
    return None if table.empty else table
