"""Dotted names of classes and functions: what they mean, and what is missing where they mean nothing."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from asteroid_stab.errors import nearest, some


def find(target: str) -> Any:
    """Returns what a dotted name means; modules that begin with ``_`` are not imported.

    Raises:
        ImportError: there is no such module.
        AttributeError: there is no such name in it.

    Anything else that its modules raise on import passes.
    """
    parts = target.split(".")
    found: Any = import_module(parts[0])
    for i, part in enumerate(parts[1:], 2):
        if not hasattr(found, part) and not part.startswith("_"):
            import_module(".".join(parts[:i]))
        found = getattr(found, part)
    return found


def absent(target: str) -> str:
    """Returns which part of a dotted name is missing in the module or class before it, and what that has.

    Args:
        target: a name that :func:`find` has not found.

    Returns:
        The words; empty where a module of the name cannot be imported, for which the error gives the reason.

    Example:
        >>> absent("fractions.Fractoin"), absent("no_such_package.Net")
        ("fractions has no 'Fractoin' (did you mean 'Fraction'?)", '')
        >>> absent("fractions.Xyz"), absent("math.pi.xyz"), absent("math..pi")
        ("fractions has no 'Xyz'; it has Fraction", "math.pi has no 'xyz'", 'a name between two dots is missing')
    """
    first, *rest = target.split(".")
    if "" in rest:
        return "a name between two dots is missing" if rest[-1] else "a name behind the last dot is missing"
    return _absent(sys.modules[first], first, rest) if first in sys.modules else ""


def _absent(owner: Any, at: str, parts: list[str]) -> str:
    """The same for the parts of a name behind what it has found so far, and where that stands."""
    if not parts:
        return ""
    part, *rest = parts
    try:
        found = getattr(owner, part)
    except AttributeError:
        return "" if _is_module(owner, part) else f"{at} has no {part!r}{_instead(owner, part)}"
    except Exception:  # of any type: a module may import a name as it is asked for
        return ""
    return _absent(found, f"{at}.{part}", rest)


def _is_module(owner: Any, name: str) -> bool:
    """Whether there is a module of that name in a package, even if it breaks when it is imported."""
    return hasattr(owner, "__path__") and find_spec(f"{owner.__name__}.{name}") is not None


def _instead(owner: Any, name: str) -> str:
    """The nearest name in a module or class; without a near one, the first that are defined there."""
    if close := nearest(name, [one for one in dir(owner) if not one.startswith("_")]):
        return close
    home = owner.__name__ if isinstance(owner, ModuleType) else getattr(owner, "__module__", "")
    held = getattr(owner, "__dict__", {})  # not every value has one
    own = [one for one, value in held.items() if callable(value) and getattr(value, "__module__", "") == home]
    public = [one for one in own if not one.startswith("_")]
    if public:
        return f"; it has {some(public)}"
    return "; it defines no function and no class" if isinstance(owner, (ModuleType, type)) else ""
