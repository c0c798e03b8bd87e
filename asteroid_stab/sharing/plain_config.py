"""The config of a run without the places of one machine."""

from __future__ import annotations

import re
from typing import Any

from asteroid_stab.run.overrides import is_path

_PLACE = re.compile(r"(^|[\s=:,'\"\[(])(~|/|\\\\|[A-Za-z]:[\\/])|(^|/)\.\.(/|$)")


def without_places(config: Any, at: str = "") -> tuple[Any, list[str]]:
    """A config in which each path, and each text with a path of a machine in it, is null; and the keys of these.

    Args:
        config: plain values.
        at: key of ``config`` in the whole.

    Example:
        >>> without_places({"run_dir": "runs/a", "recipe": "dsd_lo/toy", "name": "see /data/x"})
        ({'run_dir': None, 'recipe': 'dsd_lo/toy', 'name': None}, ['run_dir', 'name'])
    """
    if isinstance(config, dict):
        parts = {key: without_places(value, f"{at}.{key}" if at else str(key)) for key, value in config.items()}
        return {key: value for key, (value, _) in parts.items()}, [one for _, found in parts.values() for one in found]
    if isinstance(config, list):
        items = [without_places(value, at) for value in config]
        return [value for value, _ in items], [one for _, found in items for one in found]
    if isinstance(config, str) and config and ((at and is_path(at)) or has_place(config)):
        return None, [at]
    return config, []


def has_place(text: str) -> bool:
    """Whether a text holds a path from the root, a home folder or a drive, a path upwards, or an address.

    Example:
        >>> [has_place(text) for text in ("/data/x", "~/x", "C:\\\\x", "a, /b", "../x", "val/loss", "hf://ann/a")]
        [True, True, True, True, True, False, False]
    """
    return not text.startswith("hf://") and _PLACE.search(text) is not None
