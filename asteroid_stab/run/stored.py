"""The config of a run folder as plain values: reading it runs nothing and stays small, even if it is hostile."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from asteroid_stab.errors import StabError

MOST_BYTES = 1_000_000  # a config of ours has some thousands
MOST_DEPTH = 30
MOST_VALUES = 100_000  # of a recipe with its aliases written out
_BROKEN = (
    *(yaml.YAMLError, OmegaConfBaseException, OSError),  # as the libraries report it
    *(ValueError, TypeError, AttributeError, ArithmeticError, RecursionError),  # and where they do not look
)


def read_config(file: Path) -> dict[str, Any]:
    """Returns the config that a file holds.

    Raises:
        StabError: it cannot be read, or holds what no config of a run has.
    """
    return parse_config(read_text(file), str(file))


def read_text(file: Path) -> str:
    """Returns the text of a config, which may come from anybody.

    Raises:
        StabError: it is no file, or too large, or no text.
    """
    try:
        if not file.is_file():  # a pipe would be waited for
            raise StabError(f"{str(file)!r} is no readable config: it is no file")
        if (size := file.stat().st_size) > MOST_BYTES:
            raise StabError(f"{str(file)!r} is no config of a run: it has {size} bytes, more than {MOST_BYTES}")
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StabError(f"{str(file)!r} is no readable config: {error}") from error


def parse_config(text: str, name: str) -> dict[str, Any]:
    """Returns the config that a run's YAML text describes.

    A run is stored with resolved values. Interpolations (``${oc.env:TOKEN}``) would read the machine of the reader,
    and aliases can make a gigabyte of a few lines; neither is in a file that this package wrote.

    Args:
        text: the text.
        name: of the file, for messages.

    Raises:
        StabError: it is no YAML mapping of plain values, or holds an alias or an interpolation.
    """
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise StabError(f"{name!r} is no config of a run: it has the alias *{event.anchor}")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_DEPTH:
                raise StabError(f"{name!r} is no config of a run: it is nested more than {MOST_DEPTH} deep")
        config = OmegaConf.to_container(OmegaConf.load(StringIO(text)), resolve=False)
    except StabError:
        raise
    except _BROKEN as error:
        raise StabError(f"{name!r} is no readable config: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise StabError(f"{name!r} is no config of a run: it is no mapping")
    for key, value in _leaves(config):
        if isinstance(value, str) and "${" in value:
            raise StabError(f"{name!r} is no config of a run: {key} is the interpolation {value!r}, and runs have none")
        if not isinstance(value, (str, int, float, type(None))):
            raise StabError(f"{name!r} is no config of a run: {key} is of type {type(value).__name__}")
    return {str(key): value for key, value in config.items()}


def check_size(file: Path) -> None:
    """Checks that a recipe stays small where its aliases are written out.

    Raises:
        StabError: it does not, holds itself, or cannot be read.
    """
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = MOST_VALUES + 1  # of a node that is met within itself
            children = node.value if isinstance(node, yaml.CollectionNode) else ()
            inner = (size(part) for child in children for part in (child if isinstance(child, tuple) else (child,)))
            sizes[id(node)] = 1 + sum(inner)
        return sizes[id(node)]

    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        too_large = node is not None and size(node) > MOST_VALUES
    except _BROKEN as error:
        said = "it is nested too deep" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise StabError(f"{str(file)!r} is no readable recipe: {said}") from error
    if too_large:
        raise StabError(f"{str(file)!r} is no recipe: its aliases make more than {MOST_VALUES} values of it")


def _leaves(node: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """The keys and the values that are no mappings or lists, by the dotted name of their place."""
    if isinstance(node, dict):
        for key, child in node.items():
            where = f"{at}.{key}" if at else str(key)
            yield where, key
            yield from _leaves(child, where)
    elif isinstance(node, list):
        for i, child in enumerate(node):
            yield from _leaves(child, f"{at}[{i}]")
    else:
        yield at, node
