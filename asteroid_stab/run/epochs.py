"""Epochs as a person counts them."""

from __future__ import annotations

from typing import Any


def shown_epoch(epoch: Any) -> Any:
    """Returns the number under which a person reads an epoch: the first one is 1.

    Programs count from 0: Lightning, tables, file names and configs. All that is printed or drawn passes through here.

    Args:
        epoch: counted from 0; a number, or an array or a column of them.

    Example:
        >>> shown_epoch(0), shown_epoch(2)
        (1, 3)
    """
    return epoch + 1
