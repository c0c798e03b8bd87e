"""``make fuzz``: tries damaged inputs and prints what became of them; exit status 1 if one ended in a fault."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

ASKED = ("training", "words")
"""Kinds in which the command line itself may ask for more than the machine has; it must then be refused in a line."""


def plan(n: int, kinds: Sequence[str], weights: Sequence[int], seed: int) -> list[str]:
    """Returns the kind of each input: in proportion to the weights, in an order drawn from the seed."""
    total = sum(weights)
    made = [kind for kind, weight in zip(kinds, weights, strict=True) for _ in range(max(1, round(n * weight / total)))]
    Random(seed).shuffle(made)
    return made[:n]


def fuzz(n: int, seed: int, kinds: Sequence[str], work: Path, only: int | None = None, keep: bool = False) -> int:
    """Tries ``n`` inputs, prints the faults as they come and the figures at the end; returns the number of faults.

    Args:
        n: number of inputs.
        seed: seed of all inputs; input i depends on the seed, its kind and i alone.
        kinds: kinds to draw from.
        work: folder of the originals and the inputs.
        only: the one input to try.
        keep: leave the folders of faulty inputs.
    """
    os.environ.update(OMP_NUM_THREADS="1", HOME=str(work / "home"), XDG_CONFIG_HOME=str(work / "home" / "config"))
    os.environ.update(ASTEROID_STAB_CACHE=str(work / "cache"), COLUMNS="120")
    os.environ.pop("ASTEROID_STAB_TRACEBACK", None)
    from fuzz.cases import KINDS
    from fuzz.originals import make_originals
    from fuzz.server import import_all, run

    for folder in (work / "home" / "config" / "asteroid-stab", work / "cache", work / "outside"):
        folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    originals = make_originals(work / "originals")
    import_all()
    before = _files(work, "originals", "home")
    canary = work / "outside" / "canary"
    counts, faults, largest, refused = Counter(), Counter(), 0, 0
    planned = plan(n, kinds, [KINDS[kind][1] for kind in kinds], seed)
    print(f"originals made in {time.monotonic() - started:.0f} s", flush=True)
    for index, kind in enumerate(planned):
        if only is not None and index != only:
            continue
        folder = work / "input"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        words = KINDS[kind][0](Random(f"{seed} {kind} {index}"), folder, originals, canary)
        outcome = run(words, folder)
        found = [fault for fault in outcome.faults if fault != "memory" or kind not in ASKED]
        if canary.exists():
            found.append("executed")
            canary.unlink()
        if changed := _files(work, "originals", "home") ^ before:
            found.append("wrote outside")
            before = _files(work, "originals", "home")
            print(f"changed: {sorted(map(str, changed))[:3]}")
        counts[kind] += 1
        refused += outcome.status == 2
        largest = max(largest, outcome.memory)
        faults.update(found)
        if found or only is not None:
            _show(index, kind, words, found, outcome, f"--n {n} --seed {seed} --kind {' '.join(kinds)} --only {index}")
            if keep:
                shutil.copytree(folder, work / "faulty" / str(index), symlinks=True)
    print(f"\n{sum(counts.values())} inputs, seed {seed}: {', '.join(f'{k} {v}' for k, v in counts.items())}")
    print(f"{refused} refused, {sum(counts.values()) - refused} not; largest memory {largest / 2**30:.2f} GiB")
    names = ("traceback", "status", "hang", "memory", "executed", "wrote outside")
    print(f"{time.monotonic() - started:.0f} s; faults: {', '.join(f'{name} {faults[name]}' for name in names)}")
    return sum(faults.values())


def _files(work: Path, *folders: str) -> frozenset[Path]:
    """Files that no input may make or remove."""
    return frozenset(file for folder in folders for file in (work / folder).rglob("*") if file.name != "trusted")


def _show(index: int, kind: str, words: list[str], found: list[str], outcome, repeat: str) -> None:
    last = outcome.text.strip().splitlines()[-6:]
    print(f"\n#{index} {kind}: {', '.join(found) or 'no fault'} (status {outcome.status}, {outcome.seconds:.1f} s, "
          f"{outcome.memory / 2**30:.2f} GiB)\n  {words!r}", *(f"  | {line[:300]}" for line in last),
          f"  repeat: PYTHONPATH=tests/plugins .venv/bin/python -m fuzz {repeat}", sep="\n", flush=True)  # fmt: skip


def main() -> int:
    """Reads the options, and works in a folder that is removed at the end."""
    from fuzz.cases import KINDS

    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--n", type=int, default=5000, help="inputs (5000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the inputs (0)")
    parser.add_argument("--kind", nargs="+", choices=list(KINDS), default=list(KINDS), help="kinds of input (all)")
    parser.add_argument("--only", type=int, metavar="INDEX", help="try this one alone and show it")
    parser.add_argument("--work", type=Path, help="work in this folder and keep it with the faulty inputs")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        arguments = (options.n, options.seed, options.kind, work.resolve(), options.only, options.work is not None)
        return min(1, fuzz(*arguments))
    finally:
        if options.work is None:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
