"""``asteroid-stab study FILE --out DIR``: rows by seeds, trained and evaluated, and their table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from asteroid_stab.atomic import check_writable
from asteroid_stab.cli.arguments import add_trust, path, positive, take_trust
from asteroid_stab.errors import StabError
from asteroid_stab.locks import claimed
from asteroid_stab.paths import shown
from asteroid_stab.signals import present

SUMMARY = "trains and evaluates the rows of a file with several seeds, and prints their table"
PROGRAM = [sys.executable, str(Path(__file__).with_name("study_step.py"))]
SEEDS = (1, 2, 3)
_ELSEWHERE = "--out names another folder"


def main(argv: list[str]) -> int:
    """Runs what is left to do of a study and prints its table.

    Raises:
        StabError: the rows, the words or the folder cannot be used, another study runs in it, or a run failed.
    """
    options = options_of(argv)

    from asteroid_stab.run.layout import StudyLayout, study_runs
    from asteroid_stab.run.study import table
    from asteroid_stab.run.study_plan import check_configs, plan
    from asteroid_stab.run.study_record import keep_record
    from asteroid_stab.run.study_rows import read_rows
    from asteroid_stab.run.study_runner import StudyRunner
    from asteroid_stab.run.study_submit import SubmittedStudy

    take_trust(options.trust)
    rows, study = read_rows(options.files), StudyLayout(options.out)
    runs = plan(rows, options.seeds, options.out, options.overrides, options.config_dir)
    with claimed(options.out, f"wait for the end of the study in it; {_ELSEWHERE}"):
        check_writable(options.out, _ELSEWHERE)
        runner: StudyRunner | SubmittedStudy
        if options.submit:
            runner = SubmittedStudy(runs, study, PROGRAM, options.slurm, _print)
        else:
            runner = StudyRunner(runs, study, PROGRAM, options.jobs, _print)
        check_configs([steps.run for steps in runner.waiting])
        keep_record(rows, options.overrides, study)
        if signals := present():
            goes_on = "the jobs go on, and the same command waits for them" if options.submit else ""
            signals.hint = lambda: goes_on or "the same command goes on"
        runner.run()
    if study_runs(options.out):
        print(*map(shown, table(options.out, "test")), sep="\n")
    if runner.failures:
        lines = "".join(f"\n  {run.name}: {reason}" for run, reason in runner.failures)
        raise StabError(f"{len(runner.failures)} of {len(runs)} runs have failed; the same command goes on:{lines}")
    return 0


def options_of(argv: list[str]) -> argparse.Namespace:
    """Parses the words; overrides may stand anywhere, after ``--seeds`` too, though it takes several words.

    An option of a file's name with ``=`` in it is a file.
    """
    parser = make_parser()
    options = parser.parse_intermixed_args(argv)
    words, seeds = options.words, options.seeds or []
    given = [word for word in [*words, *seeds] if _is_override(word)]
    options.overrides = given
    options.files = [path(word) for word in words if word not in given]
    options.seeds = _seeds(parser, [word for word in seeds if word not in given]) or list(SEEDS)
    if options.slurm and not options.submit:
        parser.error("--slurm is for jobs of a cluster: add --submit slurm")
    if options.submit and options.jobs > 1:
        parser.error("--jobs is for the runs of this machine, and --submit slurm submits all: leave one of them out")
    if options.submit and not any(word.startswith("time=") for word in options.slurm):
        parser.error("--submit slurm needs --slurm time=MINUTES, after which a job goes on in the next one")
    if not options.files:
        parser.error("which rows? FILE is needed, such as egs/toy/dsd_lo.rows")
    return options


def _is_override(word: str) -> bool:
    return ("=" in word and not Path(word).is_file()) or (word.startswith("~") and not word.startswith("~/"))


def _seeds(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[int]:
    """Returns the seeds that the words give."""
    wrong = next((word for word in words if not word.isdecimal() or int(word) >= 2**32), None)
    if wrong is not None:
        parser.error(f"argument --seeds: must be whole numbers of at least 0, got {wrong!r}")
    seeds = [int(word) for word in words]
    if len({*seeds}) < len(seeds):
        parser.error(f"argument --seeds: each must be given once, got {' '.join(words)}")
    return seeds


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser, without an import that takes long: shell completion asks it too."""
    parser = argparse.ArgumentParser(
        prog="asteroid-stab study",
        description="Trains every row of the files with every seed into DIR/ROW/SEED, evaluates it, and prints the "
        "table (asteroid-stab compare DIR prints it again, and others). Run again, after any end, it goes on with what "
        "is left. A row that fails does not stop the others. What a run prints goes to DIR/ROW/SEED.log.",
        epilog="A line of a FILE is NAME RECIPE [OVERRIDES]; {out} and {seed} in it are the folder and the seed, and a "
        "row that names another one's folder, as init.path={out}/ROW/{seed}, starts after it. A line that begins with "
        "# is a comment. ${oc.env:NAME} is a variable of the environment: NAME=VALUE asteroid-stab study ... sets it. "
        "Each process computes with one thread, or with OMP_NUM_THREADS of them.",
    )
    parser.add_argument(
        "words", nargs="*", metavar="FILE | KEY=VALUE", help="files of rows, and overrides of all rows after their own"
    )
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="folder of the study")
    defaults = " ".join(map(str, SEEDS))
    parser.add_argument("--seeds", nargs="+", metavar="SEED", help=f"seeds of every row (default: {defaults})")
    parser.add_argument(
        "--jobs",
        type=positive,
        default=1,
        metavar="N",
        help="runs at a time (default: %(default)s); no more than cores",
    )
    parser.add_argument(
        "--submit",
        choices=["slurm"],
        help="run each run as a job of a cluster, and wait for them; DIR must be on a disk that all nodes share",
    )
    parser.add_argument(
        "--slurm",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="with --submit slurm: an option of sbatch, such as partition=gpu or gpus_per_node=1; may be given several "
        "times, and time=MINUTES is needed: the time of a job, which goes on in the next one",
    )
    add_trust(parser)
    return parser


def _print(line: str) -> None:
    print(shown(line), flush=True)
