"""``asteroid-stab prepare``: writes mixture lists for a folder of speech."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from asteroid_stab.cli.arguments import path
from asteroid_stab.errors import StabError, some

if TYPE_CHECKING:
    from rich.table import Table

    from asteroid_stab.data.lists.maker import ListSummary

SUMMARY = "writes mixture lists for any folder laid out like LibriSpeech"
_EPILOG = """\
The lists are in LibriMix's format; data=librispeech trains on them without writing mixtures to disk. Paths in
the lists are relative to --librispeech and --noise. The same options give the same lists on any machine.

  asteroid-stab prepare --librispeech LibriSpeech --subset train-clean-100 --out lists
  asteroid-stab prepare --librispeech LibriSpeech --subset train-clean-100 --out lists --n-src 3 \\
      --reuse --n-mixtures 3000 --valid-speakers 25 --n-valid 200 --noise wham_noise --noise-subset tr
"""


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser, without an import that takes long: shell completion asks it too."""
    parser = argparse.ArgumentParser(
        prog="asteroid-stab prepare",
        description=SUMMARY,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--librispeech",
        type=path,
        required=True,
        metavar="ROOT",
        help="folder of speech: ROOT/subset/speaker/.../*.flac or .wav",
    )
    add("--subset", required=True, nargs="+", metavar="NAME", help="folders of ROOT whose speech is mixed")
    add("--out", type=path, required=True, metavar="DIR", help="output folder of the lists")
    add("--n-src", type=int, default=2, metavar="J", help="speakers in a mixture (2)")
    add("--n-mixtures", type=int, metavar="N", help="number of mixtures (default: each utterance is used once)")
    add("--reuse", action="store_true", help="use utterances more than once if N needs it, but no combination twice")
    add("--seed", type=int, default=0, help="random seed (0)")
    add(
        "--valid-speakers",
        type=int,
        default=0,
        metavar="N",
        help="hold out N speakers for a list of their own",
    )
    add("--n-valid", type=int, metavar="N", help="number of mixtures of these speakers (default: as for --n-mixtures)")
    add("--noise", type=path, metavar="ROOT", help="folder of noise, .wav or .flac at 16 kHz (default: no noise)")
    add("--noise-subset", metavar="NAME", help="take the noise from this subfolder only")
    add("--min-seconds", type=float, default=3.0, metavar="S", help="leave out utterances shorter than S seconds (3.0)")
    add("--overwrite", action="store_true", help="replace existing lists")
    return parser


def _table(made: ListSummary) -> Table:
    """A table of the numbers of a list."""
    from rich.table import Table

    table = Table(title=made.path, title_justify="left", show_header=False)
    rows = {
        "mixtures": made.n_mixtures,
        "hours, mode min / max": f"{made.hours_min:.2f} / {made.hours_max:.2f}",
        "speakers": made.n_speakers,
        "sources turned down (they clipped)": made.n_clipped_sources,
        "mixtures turned down (they clipped)": made.n_clipped_mixtures,
        "utterances unused": _counted(made.unused),
    }
    if made.noise_passes:
        rows["noises used up to"] = f"{made.noise_passes} times"
    for name, cell in rows.items():
        table.add_row(name, str(cell))
    return table


def _counted(names: list[str]) -> str:
    return f"{len(names)} ({some(names)})" if names else "0"


def main(argv: list[str]) -> int:
    """Writes the lists and prints their numbers.

    Raises:
        StabError: lists cannot be made; or they were made without files that cannot be used, which it names.
    """
    args = vars(make_parser().parse_args(argv))
    from rich.console import Console
    from rich.progress import Progress

    from asteroid_stab.data.lists.prepare import Plan, prepare_lists
    from asteroid_stab.printed import print_table

    plan = {"subsets": args["subset"], **{f.name: args.get(f.name) for f in dataclasses.fields(Plan)[1:]}}
    with Progress(console=Console(stderr=True), transient=True) as bar:

        def progress(work: Iterable[Any], name: str, amount: int) -> Iterable[Any]:
            return bar.track(work, total=amount, description=name)

        made = prepare_lists(Plan(**plan), args["librispeech"], args["out"], args["noise"], args["overwrite"], progress)
    for summary in made:
        print_table(_table(summary))
    if made[0].n_too_short:
        print(f"{made[0].n_too_short} utterances were shorter than {args['min_seconds']:g} s")
    if damaged := made[0].damaged:
        reasons = "\n  ".join(damaged.values())
        raise StabError(f"{len(damaged)} files cannot be used; the lists were made without them\n  {reasons}")
    return 0
