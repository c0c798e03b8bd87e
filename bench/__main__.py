"""``python -m bench NAME``: measurements of this package against its hosts, side by side in one run."""

from __future__ import annotations

import importlib
import sys

from asteroid_stab.errors import StabError, nearest

BENCHES = ("pit", "step", "data", "evaluate", "callbacks", "layers", "refinement")


def main(argv: list[str]) -> int:
    """Runs one benchmark."""
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: asteroid-stab bench NAME ...\n\nbenchmarks:")
        for name in BENCHES:
            print(f"  {name:<10} {importlib.import_module(f'bench.{name}').SUMMARY}")
        return 0 if argv else 2
    if argv[0] not in BENCHES:
        raise StabError(f"no benchmark {argv[0]!r}{nearest(argv[0], BENCHES)}; there are {', '.join(BENCHES)}")
    return importlib.import_module(f"bench.{argv[0]}").main(argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
