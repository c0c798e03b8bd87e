"""Packages that only sharing needs, with the words that install them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from asteroid_stab.errors import StabError, cause


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
