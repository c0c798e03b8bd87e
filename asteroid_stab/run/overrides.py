"""Changes of a config on the command line: one grammar, Hydra's, for every verb."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from asteroid_stab.errors import StabError, nearest


def read(text: str) -> Override:
    """Returns a word of the command line as Hydra reads it.

    Raises:
        StabError: Hydra cannot read it, or it gives several values, of which a run takes one.

    Example:
        >>> [read(text).value() for text in ("data.root=2024-05-01", "at=12:30", "x=1e-3", "y=null", "z='a,b'")]
        ['2024-05-01', '12:30', 0.001, None, 'a,b']
    """
    if "=" not in text and not text.startswith("~"):
        raise StabError(f"an override must be KEY=VALUE, got {text!r}")
    hint = "a value with commas, brackets or other special characters needs quotes of its own: \"KEY='VALUE'\""
    try:
        parsed = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise StabError(f"the override {text!r} cannot be read: {str(error).splitlines()[0]} ({hint})") from error
    if parsed.is_sweep_override():
        raise StabError(f"the override {text!r} has several values, and one is needed ({hint})")
    return parsed


def is_plain(change: Override) -> bool:
    """Whether a change is ``KEY=VALUE``: it adds no key, deletes none and moves none."""
    return change.type == OverrideType.CHANGE and change.package is None


def path_in(change: Override) -> str:
    """Returns the value of a change as it was written, without its quotes: a folder named ``1e3`` is no number.

    Example:
        >>> path_in(read("run_dir=runs/1e3")), path_in(read("resume=1e3")), path_in(read("run_dir='my, run'"))
        ('runs/1e3', '1e3', 'my, run')
    """
    written = change.get_value_string()
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
