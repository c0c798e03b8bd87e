"""``asteroid-stab report RUN...``: one self-contained HTML page for one or several runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from asteroid_stab.cli.arguments import path
from asteroid_stab.run.layout import RunLayout

SUMMARY = "writes one self-contained HTML page about one or several runs"


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser, without an import that takes long: shell completion asks it too."""
    parser = argparse.ArgumentParser(
        prog="asteroid-stab report",
        description="Writes one HTML page of learning curves, switch ratios, evaluation and sounds. The page is "
        "self-contained: it loads nothing from elsewhere.",
    )
    parser.add_argument(
        "runs", nargs="+", type=path, metavar="RUN", help="run folder, as written by asteroid-stab train"
    )
    parser.add_argument(
        "--out",
        type=path,
        metavar="FILE",
        help=f"the page (default: {RunLayout('RUN').report}, or {RunLayout('.').report} here for several runs)",
    )
    parser.add_argument(
        "--split",
        choices=("train", "valid", "test"),
        default="test",
        help="the split whose evaluation is shown (default: %(default)s)",
    )
    return parser


def main(argv: list[str]) -> int:
    """Writes the page and prints its path.

    Raises:
        StabError: a folder is not a run folder, is given twice or holds a file that cannot be read, or the page cannot
            be written.
    """
    args = make_parser().parse_args(argv)

    from asteroid_stab.report.page import check_place, render, write
    from asteroid_stab.report.run_data import read_runs
    from asteroid_stab.run.folder import RunFolder

    folders = [RunFolder(run) for run in args.runs]
    out: Path = args.out or RunLayout(folders[0].path if len(folders) == 1 else Path()).report
    check_place(out)
    for folder in folders:
        _ = folder.config  # raises if it cannot be read, and names the folder
    write(render(read_runs([folder.path for folder in folders], args.split)), out)
    print(out)
    return 0
