"""What the benchmarks share: where to compute, on how many threads, and a file for the numbers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from asteroid_stab.cli.arguments import positive
from asteroid_stab.errors import StabError


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds ``--json FILE``."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to FILE")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds ``--threads`` and ``--device``."""
    parser.add_argument("--threads", type=positive, default=1, help="threads on the CPU (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (%(default)s)")


def check(options: argparse.Namespace) -> None:
    """Refuses a file in no folder, and a device that is not there.

    Raises:
        StabError: names the option and what it got.
    """
    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise StabError(f"--json must lie in a folder that exists, got {options.json}")
    if "device" in options:
        import torch

        if options.device != "cpu" and not (options.device.startswith("cuda") and torch.cuda.is_available()):
            raise StabError(f"--device must be cpu, or cuda where there is a GPU, got {options.device!r}")


@contextmanager
def pinned_threads(n_threads: int) -> Iterator[None]:
    """Computes with ``n_threads`` threads of torch."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def write(options: argparse.Namespace, numbers: dict[str, Any], packages: tuple[str, ...]) -> None:
    """Writes the numbers with the options and the packages' versions, where ``--json`` names a file."""
    if options.json is None:
        return
    setup = {key: value for key, value in vars(options).items() if key not in ("json", "n_src")}
    versions = {name: version(name) for name in (*packages, "asteroid-stab")}
    options.json.write_text(json.dumps({**setup, "packages": versions, **numbers}, indent=2, default=str) + "\n")
