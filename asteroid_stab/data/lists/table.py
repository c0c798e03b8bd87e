"""Tables in CSV files that people, spreadsheets and other programs write: the one reader of all lists."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence

from asteroid_stab.errors import StabError


class ListTable:
    """The rows of a CSV file; every cell is text.

    A byte order mark, line ends of any system, empty lines, further columns and spaces around the columns' names have
    no meaning. A column, row or cell that is used must be there.

    Args:
        path: the file, in UTF-8.
        what: name of this kind of table, for errors.
        absent: what to do if there is no such file, for the error.

    Attributes:
        columns: the columns' names, in their order.

    Raises:
        StabError: no such file, no table in UTF-8, no rows, two columns of one name, or a row with more cells than
            there are columns.
    """

    def __init__(self, path: str | os.PathLike[str], what: str, absent: str = ""):
        self.label = f"the {what} {path}"
        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                lines = [line for line in csv.reader(file) if any(cell.strip() for cell in line)]
        except FileNotFoundError as error:
            raise StabError(f"there is no {what} {path}{absent}") from error
        except UnicodeDecodeError as error:
            raise StabError(f"cannot read {self.label}: {error}; save it as UTF-8") from error
        except (OSError, csv.Error) as error:
            raise StabError(f"cannot read {self.label}: {error}") from error
        if not lines:
            raise StabError(f"{self.label} must have columns and rows, it is empty")
        self.columns = [name.strip() for name in lines[0]]
        named = [name for name in self.columns if name]
        if twice := next((name for name in named if named.count(name) > 1), None):
            raise StabError(f"{self.label} must have one column of each name, got {twice!r} twice")
        self._rows: list[dict[str, str]] = []
        for number, cells in enumerate(lines[1:], start=1):
            if beyond := [cell for cell in cells[len(self.columns) :] if cell.strip()]:
                wanted = f"must have {len(self.columns)} cells, got {len(cells)}"
                mend = "a text with a comma stands in quotes"
                raise StabError(f"row {number} of {self.label} {wanted}: {beyond[0]!r} has no column ({mend})")
            self._rows.append(dict(zip(self.columns, cells, strict=False)))

    def __len__(self) -> int:
        return len(self._rows)

    def require(self, columns: Sequence[str]) -> None:
        """Checks that the table has these columns, and a row.

        Raises:
            StabError: it does not.
        """
        if absent := [name for name in columns if name not in self.columns]:
            other = next((mark for mark in ";\t" if len(self.columns) == 1 and mark in self.columns[0]), None)
            mend = f"; its cells must be separated by commas, not by {other!r}" if other else ""
            raise StabError(f"{self.label} must have the columns {', '.join(absent)}; it has {self.columns}{mend}")
        if not self._rows:
            raise StabError(f"{self.label} must have rows, got none")

    def text(self, row: int, column: str) -> str:
        """Returns a cell; rows are counted from 0.

        Raises:
            StabError: it is empty.
        """
        value = self.optional_text(row, column)
        if not value:
            raise StabError(f"row {row + 1} of {self.label} must have a {column}, got nothing")
        return value

    def optional_text(self, row: int, column: str) -> str:
        """Returns a cell, which may be empty; rows are counted from 0."""
        return self._rows[row].get(column, "").strip()

    def number(self, row: int, column: str) -> float:
        """Returns a cell as a finite number.

        Raises:
            StabError: it is empty or no such number.
        """
        value = self.text(row, column)
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise StabError(f"row {row + 1} of {self.label}: {column} must be a number, got {value!r}")
        return number

    def texts(self, column: str) -> list[str]:
        """Returns a column.

        Raises:
            StabError: a cell is empty.
        """
        return [self.text(row, column) for row in range(len(self))]

    def numbers(self, column: str) -> list[float]:
        """Returns a column of numbers.

        Raises:
            StabError: a cell is empty or no finite number.
        """
        return [self.number(row, column) for row in range(len(self))]
