"""Folders that a stored config names for caches: they are written to, and a run folder may come from anybody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from asteroid_stab.errors import StabError
from asteroid_stab.run.overrides import keys, read

_NAMES = ("cache", "cache_dir")
_OURS = ("*.pack", "*.speech")
"""Patterns of the files in a cache."""


def check_caches(config: DictConfig, run: Path, overrides: Sequence[str] = ()) -> None:
    """Checks that the caches of a stored config may be written.

    A cache in the run folder may, and one that holds cached files already: somebody has made it here. Any other folder
    must be named by the user, or a run folder of somebody else would choose where this program writes.

    Args:
        config: the config or its part ``data``, with the overrides in it.
        run: the run folder.
        overrides: ``KEY=VALUE`` words of the user; a cache that they name may be anywhere.

    Raises:
        StabError: a cache may not be written; the message says how to allow it.
    """
    named = {read(text).key_or_group for text in overrides}
    home = run.resolve()
    for key in keys(config):
        value = OmegaConf.select(config, key) if key.rpartition(".")[2] in _NAMES and key not in named else None
        if not isinstance(value, str):
            continue
        folder = Path(value).expanduser()
        if folder.resolve().is_relative_to(home) or any(next(folder.glob(pattern), None) for pattern in _OURS):
            continue
        raise StabError(
            f"{run} names a folder for its cache that holds none: {key}={value}; a run folder may come from anybody, "
            f"so say it yourself: {key}=FOLDER, or {key}=null for your own"
        )
