"""Tables that a program prints: as text, on a terminal, in a log and in a notebook."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def print_table(table: Table, log_width: int | None = None) -> None:
    """Prints a table as text; in a notebook Rich would make a picture of it, which a page cuts off.

    Args:
        table: the table.
        log_width: letters in a line where standard output is no terminal and has no width; None: 80.

    Example:
        >>> table = Table("metric", "mean")
        >>> table.add_row("SI-SDRi", "6.5")
        >>> print_table(table)
        ┏━━━━━━━━━┳━━━━━━┓
        ┃ metric  ┃ mean ┃
        ┡━━━━━━━━━╇━━━━━━┩
        │ SI-SDRi │ 6.5  │
        └─────────┴──────┘
    """
    console = Console(force_jupyter=False)
    if log_width is not None and not console.is_terminal:
        console = Console(force_jupyter=False, width=log_width)
    console.print(table)
