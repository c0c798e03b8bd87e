"""Command-line arguments that several verbs share."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from asteroid_stab.errors import StabError
from asteroid_stab.paths import user_path


def path(text: str) -> Path:
    """Parses a path, with ``~`` as the home folder; for ``add_argument(type=path)``.

    Raises:
        argparse.ArgumentTypeError: it is empty, longer than a file system can hold, or the name of a model on the hub.
    """
    if text.startswith("hf://"):
        raise argparse.ArgumentTypeError(f"it must be a path, got {text!r}: asteroid-stab pull makes a folder of it")
    try:
        return Path(user_path(text, "it"))
    except StabError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def model_place(text: str) -> Path | str:
    """Parses a run folder or a model file, or the name of a model on the hub; for ``add_argument(type=model_place)``.

    Raises:
        argparse.ArgumentTypeError: it is a path that a file system cannot hold.
    """
    from asteroid_stab.sharing.hub import is_hub_name

    return text if is_hub_name(text) else path(text)


def fetched(place: Path | str) -> Path:
    """The path of a model, which is fetched where it is on the hub.

    Raises:
        StabError: there is no such model there, or no way to it.
    """
    from asteroid_stab.sharing.hub import local_model

    return place if isinstance(place, Path) else local_model(place)


def positive(text: str) -> int:
    """Parses a whole number of at least 1; for ``add_argument(type=positive)``.

    Raises:
        argparse.ArgumentTypeError: ``text`` is something else.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def size(text: str) -> int:
    """Parses a number of bytes, such as ``500M`` or ``2G``; for ``add_argument(type=size)``.

    Raises:
        argparse.ArgumentTypeError: ``text`` is no such number.

    Example:
        >>> size("2K"), size("1.5M"), size("7")
        (2048, 1572864, 7)
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([KMGT]?)B?", text.strip().upper())
    n_bytes = int(float(found[1]) * 1024 ** " KMGT".index(found[2] or " ")) if found else 0
    if n_bytes < 1:
        raise argparse.ArgumentTypeError(f"must be a size such as 500M or 2G, got {text!r}")
    return n_bytes


def level_below_mixture(text: str) -> float:
    """Parses a level in dB below the mixture's; for ``add_argument(type=level_below_mixture)``.

    Raises:
        argparse.ArgumentTypeError: ``text`` is no number below 0.
    """
    from asteroid_stab.metrics.counting import check_active_db

    try:
        return check_active_db(float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a number below 0, in dB, got {text!r}") from error


def check_data_overrides(overrides: Sequence[str], may_choose: bool = False) -> None:
    """Checks that every override changes a run's data.

    Args:
        overrides: the words.
        may_choose: whether ``data=OPTION`` may choose another corpus, and ``data@data.KEY=OPTION`` its parts.

    Raises:
        StabError: an override cannot be read, or is not ``data.KEY=VALUE``.
    """
    from asteroid_stab.run.overrides import is_plain, read

    found = [read(text) for text in overrides]
    chosen = may_choose and any(is_plain(change) and change.key_or_group == "data" for change in found)
    wanted = "data=CORPUS or data.KEY=VALUE" if may_choose else "data.KEY=VALUE"
    for text, change in zip(overrides, found, strict=True):
        if chosen and change.key_or_group == "data" and not (change.is_delete() or change.is_add()):
            continue
        if not is_plain(change) or not change.key_or_group.startswith("data."):
            raise StabError(f"an override must be {wanted}, got {text!r}")


def add_variant(parser: argparse.ArgumentParser) -> None:
    """Adds ``--variant WORDS``."""
    text = "a variant of the model, such as stage1, iterations2 or stage1,iterations2; an unknown one lists the others"
    parser.add_argument("--variant", metavar="WORDS", help=text)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Adds ``--trust NAME`` and ``--config-dir DIR``, for run folders and model files that name classes of others."""
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="NAME",
        help="trust a package or a class that run folders and model files name; kept in a file of yours",
    )
    parser.add_argument(
        "--config-dir",
        type=path,
        metavar="DIR",
        help="a folder of recipes and ingredients of your own; the classes that they name are trusted",
    )


def take_trust(names: Sequence[str]) -> None:
    """Keeps the names that ``--trust`` gives, and prints where.

    Raises:
        StabError: a name is no name, or the file cannot be written.
    """
    from asteroid_stab.trust import trust, trusted_file

    if new := trust(names):
        print(f"note: {', '.join(new)} may be built from run folders from now on, as {trusted_file()} says")
