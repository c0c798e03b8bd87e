"""Types of command-line arguments that several verbs take."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from asteroid_stab.errors import StabError


def positive(text: str) -> int:
    """The whole number, at least 1, that ``text`` is; for ``add_argument(type=positive)``.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def check_data_overrides(overrides: Sequence[str]) -> None:
    """Checks that every override is of a run's data.

    Raises:
        StabError: one cannot be read, or is not ``data.KEY=VALUE``.
    """
    from asteroid_stab.run.overrides import is_plain, read

    for text in overrides:
        change = read(text)
        if not is_plain(change) or not change.key_or_group.startswith("data."):
            raise StabError(f"an override must be data.KEY=VALUE, got {text!r}")


def add_max_iterations(parser: argparse.ArgumentParser) -> None:
    """Adds ``--max-iterations N``."""
    text = "iterations of every block of a LatentRefinementNet, in place of its own; a gate may exit earlier"
    parser.add_argument("--max-iterations", type=positive, metavar="N", help=text)


def limit_iterations(model: Any, n: int | None) -> None:
    """Does to a model what ``--max-iterations`` asks for, if anything.

    Raises:
        StabError: the model has no iterations.
    """
    if n is None:
        return
    if not hasattr(model, "limit_iterations"):
        raise StabError(f"--max-iterations needs a model with iterations (model=refiner), got {type(model).__name__}")
    model.limit_iterations(n)
