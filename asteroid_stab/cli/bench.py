"""``asteroid-stab bench NAME``: measurements of this package against its hosts, side by side in one run."""

from __future__ import annotations

import importlib

from asteroid_stab.errors import StabError, nearest

SUMMARY = "measures time and memory against Asteroid, both sides in one run"
BENCHES = ("pit", "step", "data", "evaluate", "callbacks", "layers", "refinement")


def main(argv: list[str]) -> int:
    """Runs one benchmark."""
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: asteroid-stab bench NAME ...\n\nbenchmarks:")
        for name in BENCHES:
            print(f"  {name:<10} {importlib.import_module(f'asteroid_stab.cli.bench_{name}').SUMMARY}")
        return 0 if argv else 2
    if argv[0] not in BENCHES:
        raise StabError(f"no benchmark {argv[0]!r}{nearest(argv[0], BENCHES)}; there are {', '.join(BENCHES)}")
    return importlib.import_module(f"asteroid_stab.cli.bench_{argv[0]}").main(argv[1:])
