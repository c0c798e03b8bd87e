"""Reads the files of a run folder; ``None`` where a file does not exist."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from asteroid_stab.errors import StabError
from asteroid_stab.report.shapes import misfit
from asteroid_stab.run.epochs import shown_epoch

TEXT_COLUMNS = ("id", "name", "class")  # of utterances.csv; every other column holds numbers
COUNTERS = ("epoch", "layer")
SHARES = ("switch_ratio", "train/switch_ratio")
MOST = 2**31  # of anything that is counted
LARGEST = 1e30  # of any number: no measurement comes near it, and beyond it sums and axes end at infinity


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
        content = json.loads(path.read_text(encoding="utf-8"), parse_int=_whole, parse_float=_real)
        json.dumps(content, ensure_ascii=False).encode()  # half a sign in an escape can be written into no page
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise StabError(f"{path} must hold JSON, got {error}") from error
    check_shape(content, shape, path)
    return content


def _whole(text: str) -> int:
    _check_number(value := int(text))
    return value


def _real(text: str) -> float:
    _check_number(value := float(text))
    return value


def _check_number(value: float) -> None:
    if abs(value) > LARGEST:
        raise ValueError(f"a number beyond {LARGEST:g}")


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
        StabError: a needed column is missing, a column of numbers holds something else, or rows are longer than
            the head.
    """
    if not path.is_file() or path.stat().st_size == 0:
        return None
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)  # a mixture may have the name "NA"
        if not isinstance(table.index, pd.RangeIndex):  # pandas would take the first column for names of rows
            raise ValueError("rows that are longer than its head")
        missing = [column for column in needed if column not in table]
        if missing:
            raise ValueError(f"no column {missing[0]!r}")
        for column in table.columns.difference(TEXT_COLUMNS):
            values = table[column].replace("", "nan").astype(float)
            if column in COUNTERS and not (values.between(0, MOST) & (values % 1 == 0)).all():
                raise ValueError(f"{column} with an entry that is no whole number from 0")
            if column in SHARES and not (values.isna() | values.between(0, 1)).all():
                raise ValueError(f"{column} with an entry that is no share from 0 to 1")
            # A training that diverged logs infinities, which no axis can show.
            table[column] = values.astype(int) if column in COUNTERS else values.where(values.abs() < LARGEST)
    except ValueError as error:  # pandas' ParserError and EmptyDataError are ValueErrors
        wanted = ", ".join(needed)
        raise StabError(f"{path} must be a table with the columns {wanted}, got {error}") from error
    if "epoch" in table:
        table["epoch"] = shown_epoch(table["epoch"])
    return None if table.empty else table
