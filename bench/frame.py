"""The frame of every benchmark: shared options and their checks, torch's threads, tables, and a file of the numbers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from asteroid_stab.cli.arguments import positive
from asteroid_stab.errors import StabError
from asteroid_stab.threads import torch_threads

Numbers = dict[str, Any]
Item = TypeVar("Item")


def seconds(text: str) -> float:
    """A number of seconds above 0, for ``add_argument(type=seconds)``.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text!r}")
    return value


SHARED: dict[str, dict[str, Any]] = {
    "n_src": {"type": positive, "metavar": "J", "help": "sources"},
    "batch_size": {"type": positive, "metavar": "B", "help": "items"},
    "n_samples": {"type": positive, "metavar": "T", "help": "samples of a signal"},
    "segment_s": {"type": seconds, "metavar": "S", "help": "length of a signal"},
    "sample_rate": {"type": int, "choices": (8000, 16_000), "help": "in Hz"},
    "n_mixtures": {"type": positive, "metavar": "N", "help": "mixtures"},
    "librispeech": {"type": Path, "metavar": "DIR", "help": "speech to mix; synthetic by default"},
    "threads": {"type": positive, "metavar": "N", "help": "threads on the CPU"},
    "device": {"help": "cpu, cuda, cuda:1, ..."},
    "rounds": {"type": positive, "metavar": "N", "help": "rounds of all sides, at most"},
    "budget_s": {"type": seconds, "metavar": "S", "help": "time after which no further round starts"},
}
"""Options that several benchmarks have. A benchmark names the ones that it takes, with its own defaults."""


@dataclass(frozen=True)
class Bench:
    """A benchmark: what it measures, and how it prints the numbers.

    Args:
        name: its word on the command line.
        summary: a line about it.
        measure: from the options to the numbers, which ``--json`` writes as they are.
        show: from the numbers and the options to texts and rich tables to print.
        shared: default of each option of :data:`SHARED` that it takes; a list takes several values.
        options: further options: keyword arguments of ``add_argument`` by flag.
        check: raises StabError for options that do not go together.
        packages: distributions whose versions are written beside the numbers.
    """

    name: str
    summary: str
    measure: Callable[[argparse.Namespace], Numbers]
    show: Callable[[Numbers, argparse.Namespace], Iterable[Any]]
    shared: Mapping[str, Any]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    check: Callable[[argparse.Namespace], None] = lambda options: None
    packages: Sequence[str] = ("torch", "asteroid")

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Reads the command line.

        Raises:
            StabError: an option's value cannot be used; the message names the option and the value.
        """
        parser = argparse.ArgumentParser(prog=f"asteroid-stab bench {self.name}", description=self.summary)
        for name, default in self.shared.items():
            several = {"nargs": "+"} if isinstance(default, list) else {}
            shown = "" if default is None else f" ({' '.join(map(str, default)) if several else default})"
            keywords = {**SHARED[name], **several, "help": SHARED[name]["help"] + shown}
            parser.add_argument(f"--{name.replace('_', '-')}", default=default, **keywords)
        for flag, own in self.options.items():
            parser.add_argument(flag, **own)
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to FILE")
        options = parser.parse_args(argv)
        _check(options)
        self.check(options)
        return options

    def main(self, argv: Sequence[str]) -> int:
        """Measures, prints, and writes the numbers where ``--json`` names a file."""
        options = self.parse(argv)
        with torch_threads(options.threads) if "threads" in self.shared else nullcontext():
            numbers = self.measure(options)

        from rich.console import Console

        console = Console()
        for part in self.show(numbers, options):
            print(part) if isinstance(part, str) else console.print(part)
        if options.json is not None:
            setup = {name: value for name, value in vars(options).items() if name != "json"}
            versions = {name: version(name) for name in (*self.packages, "asteroid-stab")}
            content = {**setup, "packages": versions, **numbers}
            options.json.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
        return 0


def _check(options: argparse.Namespace) -> None:
    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise StabError(f"--json must lie in a folder that exists, got {options.json}")
    folder = getattr(options, "librispeech", None)
    if folder is not None and not folder.is_dir():
        raise StabError(f"--librispeech must be a folder, got {folder}")
    device = getattr(options, "device", "cpu")
    if device != "cpu":
        import torch

        if not (device.startswith("cuda") and torch.cuda.is_available()):
            raise StabError(f"--device must be cpu, or cuda where there is a GPU, got {device!r}")


def progress(items: Sequence[Item]) -> Iterable[Item]:
    """The items one after the other, with a bar on stderr that vanishes at the end."""
    from rich.console import Console
    from rich.progress import track

    return track(items, "measuring", console=Console(stderr=True), transient=True)


def setting(options: argparse.Namespace) -> str:
    """Device and threads, for a title."""
    return f"{options.device}, {options.threads} thread(s)"


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], n_left: int = 0, **kwargs: Any) -> Any:
    """A rich table that fits 80 columns.

    Args:
        title: of one line or several.
        heads: head of each column.
        rows: cells of each row.
        n_left: number of first columns that are aligned to the left; numbers stand at the right.
        **kwargs: further arguments of ``rich.table.Table``.
    """
    from rich import box
    from rich.table import Table

    made = Table(*heads, title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), **kwargs)
    for column in made.columns[n_left:]:
        column.justify, column.no_wrap = "right", True
    for row in rows:
        made.add_row(*row)
    return made
