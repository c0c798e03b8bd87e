"""Changes of a config on the command line: one grammar, Hydra's, for every verb."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from asteroid_stab.errors import StabError, nearest
from asteroid_stab.paths import user_path

_PATH_KEY = re.compile(r"(.*\.)?(run|resume|(.*_)?(root|path|dir|cache)|(train|valid|test)_list)")
_QUOTED = re.compile(r"\s*('([^'\\]|\\.)*'|\"([^\"\\]|\\.)*\")\s*")


def read(text: str) -> Override:
    """Returns a word of the command line as Hydra reads it, and a path as it is written.

    What follows ``KEY=`` is a path for the keys ``run_dir``, ``resume``, ``run`` and all that end in ``root``,
    ``path``, ``dir``, ``cache`` or ``_list``: no sign in it has another meaning, save ``~`` at its beginning, quotes
    around all of it, ``${...}`` and ``null``.

    Raises:
        StabError: Hydra cannot read it, it gives several values, of which a run takes one, or its path is empty.

    Example:
        >>> [read(text).value() for text in ("data.root=a=b, c", "at=12:30", "x=1e-3", "data.root=null", "z='a,b'")]
        ['a=b, c', '12:30', 0.001, None, 'a,b']
    """
    if "=" not in text and not text.startswith("~"):
        raise StabError(f"an override must be KEY=VALUE, got {text!r}")
    key, _, value = text.partition("=")
    hint = "a value with commas, brackets or other special characters needs quotes of its own: \"KEY='VALUE'\""
    try:
        if is_path(key) and not text.startswith("~"):
            text = f"{key}={_as_path(key, value)}"
        parsed = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise StabError(f"the override {text!r} cannot be read: {str(error).splitlines()[0]} ({hint})") from error
    if parsed.is_sweep_override():
        raise StabError(f"the override {text!r} has several values, and one is needed ({hint})")
    return parsed


def is_path(key: str) -> bool:
    """Whether the values of a key, with the names of the nodes above it, are paths.

    Example:
        >>> [is_path(key) for key in ("data.base.noise_root", "+init.path", "loss.run", "trainer.fast_dev_run")]
        [True, True, True, False]
    """
    return _PATH_KEY.fullmatch(key.lstrip("+").partition("@")[0]) is not None


def _as_path(key: str, value: str) -> str:
    """Returns the value of a path's key as Hydra reads it as this path."""
    if value.lower() == "null" or "${" in value:
        return value
    if _QUOTED.fullmatch(value):
        value = OverridesParser.create().parse_override(f"x={value}").value()  # type: ignore[assignment]
    return quoted(user_path(value, f"{key.lstrip('+')}="))


def expand_home(config: DictConfig) -> None:
    """Puts the home folder where a path of a resolved config, as a recipe of one's own gives it, begins with ``~``."""
    for key in keys(config):
        value = OmegaConf.select(config, key) if is_path(key) else None
        if isinstance(value, str) and value.startswith("~"):
            OmegaConf.update(config, key, user_path(value, key))


def is_plain(change: Override) -> bool:
    """Whether a change is ``KEY=VALUE``: it adds no key, deletes none and moves none."""
    return change.type == OverrideType.CHANGE and change.package is None


def path_in(change: Override) -> str:
    """Returns the value of a change as it was written, without its quotes: a folder named ``1e3`` is no number.

    Raises:
        StabError: it names another value, which a folder that is used before there is a config cannot.

    Example:
        >>> path_in(read("run_dir=1e3")), path_in(read("resume=a=b (2)")), path_in(read("run_dir='my, run'"))
        ('1e3', 'a=b (2)', 'my, run')
    """
    written = change.get_value_string()
    if "${" in written:
        raise StabError(f"{change.key_or_group}= must be the name of a folder itself, without ${{...}}, got {written}")
    return str(change.value()) if written[:1] in ("'", '"') else written


def quoted(text: str) -> str:
    """Returns ``text`` in quotes, as the value of a change that is read as this text.

    Example:
        >>> print(quoted("it's"))
        'it\\'s'
    """
    return QuotedString(text, Quote.single).with_quotes()


def apply(config: DictConfig, overrides: Sequence[str], at: str = "") -> DictConfig:
    """Returns a resolved copy of ``config`` with changes of keys that it has.

    Args:
        config: the config.
        overrides: the changes, ``KEY=VALUE``; a key may begin with ``at`` and a dot.
        at: name of ``config``, for the messages.

    Raises:
        StabError: an override cannot be read or is no ``KEY=VALUE``, or ``config`` has no such key.
    """
    changed = OmegaConf.create(OmegaConf.to_container(config, resolve=True))
    assert isinstance(changed, DictConfig)
    known = keys(changed)
    for text in overrides:
        change = read(text)
        if not is_plain(change):
            raise StabError(f"an override of a run must be KEY=VALUE, got {text!r}")
        key = change.key_or_group.removeprefix(f"{at}.") if at else change.key_or_group
        if key not in known:
            where = at or "the run's config"
            raise StabError(f"{where} has no key {key!r}{nearest(key, known)}")
        OmegaConf.update(changed, key, change.value())
    try:
        OmegaConf.resolve(changed)
    except OmegaConfBaseException as error:
        raise StabError(f"an override cannot be resolved: {str(error).splitlines()[0]}") from error
    return changed


def keys(config: DictConfig) -> list[str]:
    """Returns the dotted names of all keys of ``config``, inner nodes included.

    Example:
        >>> keys(OmegaConf.create({"a": {"b": 1, "c": "${d}"}, "d": None}))
        ['a', 'a.b', 'a.c', 'd']
    """
    return _keys(OmegaConf.to_container(config, resolve=False))


def _keys(node: Any, prefix: str = "") -> list[str]:
    if not isinstance(node, Mapping):
        return []
    return [key for name, child in node.items() for key in (f"{prefix}{name}", *_keys(child, f"{prefix}{name}."))]
