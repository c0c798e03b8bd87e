"""Objects from plain values: a mapping with ``_target_`` is the object that it names, as in a config."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

from asteroid_stab.errors import StabError
from asteroid_stab.trust import imported

TARGET, PARTIAL, ARGS = "_target_", "_partial_", "_args_"
_MOST_VALUES, _MOST_DEPTH = 10_000, 30  # some hundreds and 5 are many
_IGNORED = ("_convert_",)  # of Hydra, for its own containers: the values here are plain already


def plain_values(value: Any, at: str) -> Any:
    """Returns a copy of ``value`` in the types that a model file and a config can hold.

    Args:
        value: numbers, text, None, and lists and mappings of them.
        at: its name, for messages.

    Raises:
        StabError: it holds something else.

    Example:
        >>> plain_values({"hidden": 32, "norm": {"_target_": "torch.nn.BatchNorm1d", "num_features": 3}}, "args")
        {'hidden': 32, 'norm': {'_target_': 'torch.nn.BatchNorm1d', 'num_features': 3}}
    """
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise StabError(f"the keys of {at} must be text, got {key!r}")
        return {str(key): plain_values(child, f"{at}.{key}") for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(child, f"{at}[{i}]") for i, child in enumerate(value)]
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and not math.isnan(value)):
        return value
    shown = "nan" if isinstance(value, float) else f"a {type(value).__name__}"
    raise StabError(
        f"{at} must be a number, text, None, or a list or mapping of them, got {shown}: a file keeps it; an object is "
        f"written as {{{TARGET}: its class, and its arguments}}"
    )


def check_extent(value: Any, source: str) -> None:
    """Checks that arguments are few and not nested deep, before anything walks them: a file may come from anybody.

    Raises:
        StabError: there are more than 10,000 values, or they are nested more than 30 deep.
    """
    n_values, level = 0, [value]
    for _ in range(_MOST_DEPTH):
        n_values += len(level)
        if n_values > _MOST_VALUES:
            raise StabError(f"{source} has more than {_MOST_VALUES} values in the arguments of its model")
        inner = ([*one.values()] if isinstance(one, Mapping) else one for one in level)
        level = [child for one in inner if isinstance(one, (list, tuple)) for child in one[: _MOST_VALUES + 1]]
        if not level:
            return
    raise StabError(f"{source} has arguments of its model that are nested more than {_MOST_DEPTH} deep")


def build_target(node: Any, source: str) -> Any:
    """Builds the object of a mapping with ``_target_``, and first the objects in its arguments.

    The names must have been checked by :func:`asteroid_stab.trust.check_stored`. ``_args_`` are positional arguments;
    with ``_partial_: true`` the result is a function that lacks arguments. Everything else is returned as it is.

    Args:
        node: plain values.
        source: what names the classes, for messages.

    Raises:
        StabError: a name cannot be imported or called.

    Example:
        >>> build_target({"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "torch.nn.ReLU"}]}, "an example")
        Sequential(
          (0): ReLU()
        )
    """
    if isinstance(node, list):
        return [build_target(child, source) for child in node]
    if not isinstance(node, Mapping):
        return node
    children = {key: build_target(child, source) for key, child in node.items() if key not in (TARGET, *_IGNORED)}
    if TARGET not in node:
        return children
    called = imported(node[TARGET], source)
    if not callable(called):
        raise StabError(f"{source} names {node[TARGET]}, a {type(called).__name__}, which cannot be called")
    partial, given = children.pop(PARTIAL, False), children.pop(ARGS, [])
    if unknown := [key for key in children if key.startswith("_") and key.endswith("_")]:
        raise StabError(f"{source}: {unknown[0]} of {node[TARGET]} must be one of {TARGET}, {PARTIAL} and {ARGS}")
    return functools.partial(called, *given, **children) if partial else called(*given, **children)
