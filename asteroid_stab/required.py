"""Packages that are installed because this one needs them."""

from __future__ import annotations

import re
from functools import cache
from importlib import metadata

_NAME = re.compile(r"[\w.-]+")


@cache
def required_packages() -> frozenset[str]:
    """Returns the names under which they are imported, this package's and the ones that its requirements require.

    Extras are left out: who installs one asks for what is in it.
    """
    distributions, waiting = set(), ["asteroid-stab"]
    while waiting:
        name = _plain(waiting.pop())
        if name in distributions:
            continue
        distributions.add(name)
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another system or Python
        waiting += [found.group() for line in lines if "extra ==" not in line and (found := _NAME.match(line))]
    imported = metadata.packages_distributions()
    return frozenset(name for name, of in imported.items() if distributions & {_plain(one) for one in of})


def _plain(name: str) -> str:
    """A distribution's name as the index compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()
