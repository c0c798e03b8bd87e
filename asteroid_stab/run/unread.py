"""Keys of a composed config that nothing reads: refused, or left out where an override replaced their reader."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from asteroid_stab.errors import StabError, nearest
from asteroid_stab.run.check import unknown_arguments
from asteroid_stab.run.parts import GROUPS, HEAD, KNOWN, PARTS, VALUES


def unread(config: DictConfig) -> list[str]:
    """Returns the keys of the parts that no constructor takes, and the parts that name no constructor.

    Args:
        config: the config, with its interpolations.
    """
    found = []
    for name in (*PARTS, *GROUPS):
        node = config.get(name)
        if name in PARTS:
            found += _unread(node, name) if isinstance(node, DictConfig) else []
        elif isinstance(node, DictConfig):
            for key in map(str, node):
                at = f"{name}.{key}"
                if name == "head" and key not in HEAD:
                    found.append(at)
                elif isinstance(child := node[key], DictConfig):
                    found += [at] if name != "head" and "_target_" not in child else _unread(child, at)
    return found


def _unread(node: DictConfig, at: str) -> list[str]:
    """The keys of a part that is to be built, and of the parts in its arguments, that no constructor takes."""
    if "_target_" not in node:
        return [f"{at}.{key!s}" for key in node]
    gone = unknown_arguments(node)
    inner = (_inner(node._get_node(key), f"{at}.{key!s}") for key in node if key not in gone)
    return [*(f"{at}.{key}" for key in gone), *(key for found in inner for key in found)]


def _inner(node: Any, at: str) -> Iterator[str]:
    if isinstance(node, DictConfig) and not node._is_none() and not node._is_interpolation() and not node._is_missing():
        if "_target_" in node:
            yield from _unread(node, at)
        else:  # a mapping that is an argument itself, such as a loss' phases
            for key in node:
                yield from _inner(node._get_node(key), f"{at}.{key!s}")


def leave_out(config: DictConfig, keys: Sequence[str], default: Any) -> list[str]:
    """Removes the keys that nothing reads since an override replaced the part that read them; returns the removed.

    Args:
        config: the config that is changed.
        keys: the keys that nothing reads.
        default: the config of the recipe without overrides, which shows what read them there.
    """
    before = unread(default)
    gone = [key for key in keys if _has(default, key) and not any(_covers(other, key) for other in before)]
    OmegaConf.set_struct(config, False)
    for key in gone:
        parent, _, name = key.rpartition(".")
        del OmegaConf.select(config, parent)[name]
    OmegaConf.set_struct(config, True)
    return gone


def kept(part: DictConfig, option: DictConfig, at: str, typed: Sequence[str]) -> list[str]:
    """Returns ``KEY=VALUE`` for each value of a part that neither its option nor the user has set: the recipe's.

    Args:
        part: the composed part.
        option: the part as its option alone sets it.
        at: key of the part in the config.
        typed: the keys that the user gives values for.
    """
    values, own = (_flat(OmegaConf.to_container(node, resolve=False), at) for node in (part, option))
    return [
        f"{key}={value}"
        for key, value in values.items()
        if (key not in own or own[key] != value) and not any(_covers(other, key) for other in typed)
    ]


def _flat(plain: Any, at: str) -> dict[str, Any]:
    return {".".join([at, *map(str, path)]): _at(plain, path) for path in _leaves(plain, ()) if path}


def _at(node: Any, path: Sequence[Any]) -> Any:
    for name in path:
        node = node[name]
    return node


def check_top(config: DictConfig, recipe: str) -> None:
    """Checks that each key that is no part of a run is read by an interpolation.

    Args:
        config: the config, with its interpolations.
        recipe: its name, for the message.

    Raises:
        StabError: nothing reads a key; the message names the nearest.
    """
    package = recipe.rpartition("/")[0].replace("/", ".")
    plain: Any = OmegaConf.to_container(config, resolve=False)
    for name in [key for key in plain if key not in KNOWN]:
        if package and name == package.partition(".")[0]:
            raise StabError(
                f"recipe {recipe!r}: its values stand under {package!r}, where nothing reads them: its first line must "
                "be '# @package _global_'"
            )
        for path in _leaves(plain[name], (name,)):
            if not _is_read(plain, path):
                key = ".".join(map(str, path))
                raise StabError(f"recipe {recipe!r}: nothing reads {key!r}{_meant(key)}")


def _meant(key: str) -> str:
    group, _, rest = key.partition(".")
    near = nearest(group, [*PARTS, *GROUPS, *VALUES])
    return near.replace("'?)", f".{rest}'?)") if rest else near


def _is_read(plain: dict[str, Any], path: Sequence[Any]) -> bool:
    """Whether the config without the key at ``path`` resolves to something else, or not at all."""

    def resolved(without: bool) -> Any:
        copied = copy.deepcopy(plain)
        if without:
            _pop(copied, path)
        found: Any = OmegaConf.to_container(OmegaConf.create(copied), resolve=True)
        _pop(found, path)
        return found

    try:
        return resolved(without=True) != resolved(without=False)
    except OmegaConfBaseException:
        return True


def _pop(node: Any, path: Sequence[Any]) -> None:
    for name in path[:-1]:
        node = node[name]
    node.pop(path[-1], None)


def _leaves(node: Any, at: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if isinstance(node, Mapping) and node:
        for key, child in node.items():
            yield from _leaves(child, (*at, key))
    else:
        yield at


def _has(config: Any, key: str) -> bool:
    for name in key.split("."):
        if not isinstance(config, DictConfig) or name not in config:
            return False
        config = config._get_node(name)
    return True


def _covers(outer: str, key: str) -> bool:
    return key == outer or key.startswith(f"{outer}.")
