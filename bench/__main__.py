"""``python -m bench NAME``: measurements of this package against its hosts, side by side in one run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from asteroid_stab.errors import StabError, nearest
from bench.frame import Bench

BENCHES = ("pit", "step", "kernels", "data", "evaluate", "callbacks", "layers", "refinement", "ranks", "rooms", "scale")


def bench(name: str) -> Bench:
    """The benchmark of a name.

    Raises:
        StabError: there is none.
    """
    if name not in BENCHES:
        raise StabError(f"no benchmark {name!r}{nearest(name, BENCHES)}; there are {', '.join(BENCHES)}")
    return importlib.import_module(f"bench.{name}").BENCH


def main(argv: Sequence[str]) -> int:
    """Runs one benchmark, or lists all."""
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: asteroid-stab bench NAME ...\n\nbenchmarks:")
        for name in BENCHES:
            print(f"  {name:<10} {bench(name).summary}")
        return 0 if argv else 2
    return bench(argv[0]).main(argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
