"""Packages that are installed because this one needs them, and packages of an extra, with the words that install it."""

from __future__ import annotations

import inspect
import re
from functools import cache
from importlib import import_module, metadata
from typing import Any

from asteroid_stab.errors import StabError, cause

_NAME = re.compile(r"[\w.-]+")


@cache
def required_packages() -> frozenset[str]:
    """Returns the names under which they are imported, this package's and the ones that its requirements require.

    Extras are left out: who installs one asks for what is in it.
    """
    seen, names, waiting = set(), set(), ["asteroid-stab"]
    while waiting:
        name = _plain(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another system or Python
        names |= import_names(distribution)
        lines = distribution.requires or []
        waiting += [found.group() for line in lines if "extra ==" not in line and (found := _NAME.match(line))]
    return frozenset(names)


def needed(module: str, purpose: str, extra: str) -> Any:
    """Imports a package of an extra.

    Args:
        module: its name.
        purpose: what needs it, for the message.
        extra: the extra of this package that brings it.

    Raises:
        StabError: it is not installed, or cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise StabError(f"{purpose} needs {module} ({cause(error)}): pip install 'asteroid-stab[{extra}]'") from error


def import_names(distribution: metadata.Distribution) -> set[str]:
    """Returns the names under which the packages and modules of a distribution are imported.

    ``packages_distributions`` of Python 3.10 knows a distribution only where it lists them, which pandas does not.
    """
    if listed := (distribution.read_text("top_level.txt") or "").split():
        return set(listed)
    files = distribution.files or ()
    found = {file.parts[0] if len(file.parts) > 1 else inspect.getmodulename(file.name) for file in files}
    return {name for name in found if name and name.isidentifier() and name != "__pycache__"}


def _plain(name: str) -> str:
    """A distribution's name as the index compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()
