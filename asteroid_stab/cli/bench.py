"""``asteroid-stab bench NAME``: the door to ``bench/``, which a checkout has and a wheel does not."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from asteroid_stab.errors import StabError

SUMMARY = "measures time and memory against Asteroid, both sides in one run (from a checkout)"


def main(argv: list[str]) -> int:
    """Runs one benchmark of the checkout that this package is imported from.

    Raises:
        StabError: the package is not imported from a checkout, or there is no such benchmark.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "bench" / "__main__.py").is_file():
        raise StabError(
            "the benchmarks are in the folder bench of a checkout, and this package was installed without it: clone "
            "the repository and run python -m bench there"
        )
    sys.path.insert(0, str(root))
    return importlib.import_module("bench.__main__").main(argv)
