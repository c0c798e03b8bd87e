"""The config of a run without the places of one machine and without secrets."""

from __future__ import annotations

import re
from typing import Any

from asteroid_stab.run.overrides import is_path

_PLACE = re.compile(r"(^|[\s=:;,|<>@&'\"`\[({])(~|/|\\\\|[A-Za-z]:[\\/])|(^|[/\\])\.\.([/\\]|$)")
_SECRET = re.compile(r"(.*[._-])?(token|password|passwd|secret|credentials?|(api|access|private)[_-]?key)s?", re.I)

_ON_THE_HUB = re.compile(r"^hf://[\w.-]+/[\w.-]+(@[\w.-]+)?$")


def without_places(config: Any, at: str = "") -> tuple[Any, list[str]]:
    """A config in which paths, texts with a path of a machine in them, and secrets are null; and the keys of these.

    A key that is itself such a text is left out with its value. Secrets are the values of keys such as ``token``,
    ``password`` and ``api_key``: a run is stored with what its recipe takes from the environment.

    Args:
        config: plain values.
        at: key of ``config`` in the whole.

    Example:
        >>> without_places({"run_dir": "runs/a", "recipe": "dsd_lo/toy", "name": "see /data/x"})
        ({'run_dir': None, 'recipe': 'dsd_lo/toy', 'name': None}, ['run_dir', 'name'])
    """
    if isinstance(config, dict):
        kept = {key: value for key, value in config.items() if not has_place(str(key))}
        parts = {key: without_places(value, f"{at}.{key}" if at else str(key)) for key, value in kept.items()}
        emptied = [one for _, found in parts.values() for one in found]
        return {key: value for key, (value, _) in parts.items()}, emptied + ([at] if len(kept) < len(config) else [])
    if isinstance(config, list):
        items = [without_places(value, at) for value in config]
        return [value for value, _ in items], [one for _, found in items for one in found]
    if isinstance(config, str) and config and (_SECRET.fullmatch(at) or (at and is_path(at)) or has_place(config)):
        return None, [at]
    return config, []


def has_place(text: str) -> bool:
    """Whether a text holds a path from the root, a home folder or a drive, a path upwards, or an address.

    Example:
        >>> [has_place(text) for text in ("/data/x", "~/x", "C:\\\\x", "a, /b", "../x", "val/loss", "hf://ann/a")]
        [True, True, True, True, True, False, False]
    """
    return _PLACE.search(_ON_THE_HUB.sub("", text)) is not None
