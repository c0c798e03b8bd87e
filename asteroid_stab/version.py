"""The version of this package: the tags of git state it, in a checkout; elsewhere the metadata that a build wrote."""

from __future__ import annotations

import json
import warnings
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

UNKNOWN = "0.0"
"""The version of a copy of the files that has neither git nor metadata."""
_ROOT = Path(__file__).resolve().parents[1]


@cache
def version(root: Path = _ROOT) -> str:
    """Returns the version of the package in a folder, as a build in it would state it.

    After an editable install, commits go on and the metadata stay: in a checkout git is asked, through setuptools-scm
    with the settings of ``pyproject.toml``. Where setuptools-scm is not installed (the extra ``dev`` brings it) or git
    cannot read the checkout, the metadata count.

    Args:
        root: the folder that holds the package: a checkout, an unpacked sdist, or a folder of installed packages.
    """
    return (_of_git(root) if (root / ".git").exists() else None) or _of_metadata(root) or UNKNOWN


def _of_git(root: Path) -> str | None:
    """Returns the version by the tags of a checkout, or None where it cannot be found."""
    try:
        from setuptools_scm import Configuration, _get_version
    except ImportError:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a shallow clone: its version names the commit
        try:
            settings = Configuration.from_file(root / "pyproject.toml", root=str(root))
            if settings.dist_name != "asteroid-stab":  # the files were copied into a checkout of something else
                return None
            found = _get_version(settings)
        except (LookupError, OSError, ValueError):  # git is not there, or does not trust the folder of another user
            return None
    return None if found == UNKNOWN else found


def _of_metadata(root: Path) -> str | None:
    """Returns the version in the metadata beside the package, or of the editable install that leads to it."""
    for found in distributions(name="asteroid-stab", path=[str(root)]):
        return found.version
    for found in distributions(name="asteroid-stab"):
        origin = json.loads(found.read_text("direct_url.json") or "{}")
        if origin.get("url") == root.as_uri():
            return found.version
    return None
