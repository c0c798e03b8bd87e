"""Checks of a config before anything is built: the constructor's signature is the schema."""

from __future__ import annotations

import inspect
import logging
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.errors import HydraException, InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from asteroid_stab.dotted import absent
from asteroid_stab.errors import StabError, cause, nearest
from asteroid_stab.run.parts import GROUPS, PARTS
from asteroid_stab.run.ranges import range_faults

logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # it logs each error that it also raises

_REFUSALS = (ValueError, TypeError, AssertionError, MisconfigurationException)  # how hosts refuse values
# How they stumble over values that they do not look at; the message then needs the name of the exception.
_STUMBLES = (RuntimeError, ArithmeticError, LookupError, AttributeError, MemoryError, OSError, ImportError)
_HYDRA_KEYS = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}


def check_config(config: DictConfig | ListConfig, at: str = "") -> None:
    """Binds every ``_target_`` node of ``config`` to its signature.

    Args:
        config: the config; interpolations are resolved on the way.
        at: key of ``config`` in the whole config, for the messages.

    Raises:
        StabError: lists all faults at once: targets that cannot be imported, and arguments that are unknown (with the
            nearest known one), missing, or of another type than their annotation, and numbers out of range.
    """
    try:
        faults = list(_faults(config, at))
        plain: Any = OmegaConf.to_container(config, resolve=True)
        faults += range_faults({at: plain} if at else plain) if isinstance(plain, dict) else []
    except OmegaConfBaseException as error:  # an interpolation that leads nowhere
        raise StabError(f"config: {str(error).splitlines()[0]}") from error
    if faults:
        raise StabError("config: " + "\n  ".join(["", *faults] if len(faults) > 1 else faults))


def build(node: Any, *args: Any, **kwargs: Any) -> Any:
    """Builds what the ``_target_`` node of a checked config names, with further arguments.

    Raises:
        StabError: the constructor refused its arguments or broke on them. The message is the constructor's, without
            Hydra's.
    """
    try:
        if node.get("_partial_", False):
            return instantiate(node)(*args, **kwargs)
        return instantiate(node, *args, **kwargs)
    except StabError:
        raise
    except (InstantiationException, *_REFUSALS, *_STUMBLES) as error:
        inner: BaseException | None = error
        while inner is not None and not isinstance(inner, StabError):
            last, inner = inner, inner.__cause__ if isinstance(inner, InstantiationException) else None
        if inner is not None:
            raise inner from None
        said = " ".join(str(last if str(last) else error).split())
        if isinstance(last, _STUMBLES) and not isinstance(last, _REFUSALS):
            said = f"{type(last).__name__}: {said} (ASTEROID_STAB_TRACEBACK=1 shows where)"
        raise StabError(f"{node['_target_']}: {said}") from error


def build_part(name: str, node: Any, *args: Any, **kwargs: Any) -> Any:
    """Builds a part of a checked config, which must be of the kind that its place in the config asks for.

    Args:
        name: key of the part, such as ``data`` or ``callbacks.tracker``.
        node: the part.
        *args: further arguments of its constructor.
        **kwargs: further arguments of its constructor.

    Raises:
        StabError: the part is of another kind, or its constructor refused its arguments.
    """
    kinds = {**PARTS, **GROUPS}[name.partition(".")[0]].kinds()
    wanted = " or ".join(kind.__name__ for kind in kinds)
    target = get_object(node["_target_"])
    if isinstance(target, type) and not issubclass(target, kinds):  # before it does what others are built for
        raise StabError(f"{name} must be of {wanted}, and {node['_target_']} is none")
    built = build(node, *args, **kwargs)
    if not isinstance(built, kinds):
        raise StabError(f"{name} must be of {wanted}, and {node['_target_']} gives a {type(built).__name__}")
    return built


def _faults(node: Any, at: str) -> Iterator[str]:
    if isinstance(node, DictConfig):
        if "_target_" in node:
            yield from _target_faults(node, at)
        for key in map(str, node):
            where = f"{at}.{key}" if at else key
            if OmegaConf.is_missing(node, key):
                yield f"{where} must be given"
            else:
                yield from _faults(node[key], where)
    elif isinstance(node, ListConfig):
        for i, child in enumerate(node):
            yield from _faults(child, f"{at}[{i}]")


def _target_faults(node: DictConfig, at: str) -> Iterator[str]:
    target = node["_target_"]
    if not isinstance(target, str):
        yield f"{at}._target_: must be the name of a class, got {target!r}"
        return
    try:
        function = get_object(target)
    except (HydraException, ImportError, ValueError, AttributeError) as error:
        if missing := absent(target):
            yield f"{at}._target_: {missing}"
            return
        why = cause(error.__cause__ or error)  # Hydra's own text names the target again
        mend = "install its package, or set PYTHONPATH to its folder"
        yield f"{at}._target_: {target!r} cannot be imported ({why}): {mend}"
        return
    if not callable(function):
        yield f"{at}._target_: {target!r} is a {type(function).__name__}, which cannot be called"
        return
    for key, kind in (("_partial_", bool), ("_recursive_", bool), ("_convert_", str), ("_args_", ListConfig)):
        if key in node and not isinstance(node[key], kind):
            yield f"{at}.{key}: must be {kind.__name__.removesuffix('Config').lower()}, got {node[key]!r}"
            return
    try:
        parameters = inspect.signature(function).parameters
    except (ValueError, TypeError):  # a built-in that does not say what it takes
        return
    named = _named(parameters)
    given = [str(key) for key in node if key not in _HYDRA_KEYS]
    for key in unknown_arguments(node):
        open_end = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        why = ": its signature or its documentation must name it" if open_end else ""
        yield f"{at}.{key}: {target} takes no {key!r}{nearest(key, named)}{why}"
    if not node.get("_partial_", False) and not node.get("_args_"):
        for name, parameter in named.items():
            if parameter.default is parameter.empty and name not in given:
                yield f"{at}.{name}: {target} needs it"
    hints = _hints(function)
    for key in given:
        if key in hints and not OmegaConf.is_missing(node, key):
            value = node[key]
            if isinstance(value, DictConfig) and "_target_" in value:
                continue
            plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            if isinstance(value, DictConfig) and any(OmegaConf.is_missing(value, part) for part in value):
                continue  # what is missing is named by itself
            if not _fits(plain, hints[key]):
                yield f"{at}.{key}: must be {_name(hints[key])}, got {plain!r}"


def unknown_arguments(node: DictConfig) -> list[str]:
    """Returns the keys of a ``_target_`` node that its constructor does not take; none where the target is at fault."""
    if not isinstance(node["_target_"], str):
        return []
    try:
        function = get_object(node["_target_"])
        parameters = inspect.signature(function).parameters
    except (HydraException, ImportError, ValueError, AttributeError, TypeError):  # check_config names the fault
        return []
    found = [str(key) for key in node if key not in _HYDRA_KEYS and str(key) not in _named(parameters)]
    return [key for key in found if not _passes_on(function, key)]


def _passes_on(function: Any, key: str) -> bool:
    """Whether a class or function with ``**kwargs`` documents that it takes a key, or a base class of it takes it."""
    places = [
        (vars(kind)["__init__"], f"{kind.__doc__} {vars(kind)['__init__'].__doc__}")
        for kind in (function.__mro__ if isinstance(function, type) else ())
        if "__init__" in vars(kind) and kind is not object
    ]
    for place, text in places or [(function, str(function.__doc__))]:
        parameters = inspect.signature(place).parameters
        more = [name for name, parameter in parameters.items() if parameter.kind is parameter.VAR_KEYWORD]
        if more and re.search(rf"\*\*{more[0]}\b|\b{re.escape(key)}\b", text):
            return True
        if key in _named(parameters):  # of a base class
            return True
        if not more:
            return False
    return False


def _named(parameters: Mapping[str, inspect.Parameter]) -> dict[str, inspect.Parameter]:
    return {n: p for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def _hints(function: Any) -> dict[str, Any]:
    called: Any = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
    called = inspect.unwrap(called)  # Lightning's Trainer wraps its constructor
    try:
        return typing.get_type_hints(called)
    except (NameError, TypeError):  # annotations of a host that cannot be evaluated: names are checked all the same
        return {}


def _name(hint: Any) -> str:
    if isinstance(hint, type) and not typing.get_args(hint):  # for Python 3.10, list[int] is one too
        return hint.__name__
    text = str(hint).replace("typing.", "")
    # Python 3.10 puts this around a hint whose default is None.
    return f"{text[len('Optional[') : -1]} | None" if text.startswith("Optional[") else text


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain ``value`` from a config fits the annotation ``hint``."""
    if hint is Any or (isinstance(value, dict) and "_target_" in value):  # a part, of which its builder sees the kind
        return True
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in inner)
    if origin is typing.Literal:
        return value in inner
    if hint is None or hint is type(None):
        return value is None
    base = origin or hint
    if not isinstance(base, type):
        return True  # a type variable, a protocol
    if base in (bool, str):
        return isinstance(value, base)
    if base is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if base is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if issubclass(base, Path):
        return isinstance(value, str)
    if isinstance(value, dict):
        entry = inner[1] if len(inner) == 2 else Any
        return (issubclass(base, Mapping) or base is Mapping) and all(_fits(v, entry) for v in value.values())
    if isinstance(value, list):
        item = inner[0] if inner else Any
        return (issubclass(base, Sequence) and not issubclass(base, str)) and all(_fits(v, item) for v in value)
    return base is object
