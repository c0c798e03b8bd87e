"""Types of command-line arguments that several verbs take."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """The whole number, at least 1, that ``text`` is; for ``add_argument(type=positive)``.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)
