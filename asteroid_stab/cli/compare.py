"""``asteroid-stab compare DIR``: the table of a study, with its spread over seeds."""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from asteroid_stab.errors import StabError

if TYPE_CHECKING:
    from asteroid_stab.report.run_data import Run

SUMMARY = "prints the table of a study: DIR/ROW/SEED run folders, mean and spread over the seeds"


class Figures(NamedTuple):
    """The numbers of one run; nan where it has none."""

    epochs: float
    test: float  # dB
    test_p10: float  # dB
    valid: float  # dB
    switched: float  # mean ratio over the epochs that have one
    switched_last: float
    speed: float  # steps a second


HEAD = {
    "epochs": "epochs",
    "test": "{split} SI-SDRi, dB",
    "test_p10": "10th percentile, dB",
    "valid": "best val SI-SDRi, dB",
    "switched": "switches, mean, %",
    "switched_last": "switches, last epoch, %",
    "speed": "steps/s",
}
_DIGITS = {"epochs": 0, "test": 2, "test_p10": 2, "valid": 2, "switched": 1, "switched_last": 1, "speed": 2}


def figures(run: Run) -> Figures:
    """What a run came to."""
    stale = run.evaluation is not None and run.evaluation.of_another_model  # the run went on since
    test = {} if stale else run.metric("si_sdr_i") or {}
    valid = run.column("val/si_sdr_i")
    switches, seconds, steps = run.switch_ratio(), run.column("seconds"), run.column("step")
    defined = switches is not None and len(switches) > 0
    return Figures(
        epochs=math.nan if run.metrics is None else len(run.metrics),
        test=test.get("mean", math.nan),
        test_p10=test.get("p10", math.nan),
        valid=math.nan if valid is None else float(valid.max()),
        switched=100 * float(switches.mean()) if defined else math.nan,  # type: ignore[union-attr]
        switched_last=100 * float(switches.iloc[-1]) if defined else math.nan,  # type: ignore[union-attr]
        speed=math.nan if seconds is None or steps is None else float(steps.iloc[-1] / seconds.sum()),
    )


def spread(values: Sequence[float], digits: int) -> str:
    """Mean ± standard deviation of the defined values, and how many these are if not all; a dash where there is none.

    Counts (``digits`` 0) are not averaged: they are given from the least to the largest where they differ.

    Example:
        >>> spread([1.0, 2.0, float("nan")], 1), spread([3.0], 2), spread([float("nan")], 1), spread([2.0, 3.0], 0)
        ('1.5 ± 0.7 (2 of 3)', '3.00', '–', '2–3')
    """
    defined = [value for value in values if not math.isnan(value)]
    if not defined:
        return "–"
    part = f" ({len(defined)} of {len(values)})" if len(defined) < len(values) else ""
    if digits == 0:
        ends = sorted({f"{value:.0f}" for value in (min(defined), max(defined))}, key=float)
        return "–".join(ends) + part
    mean = f"{statistics.mean(defined):.{digits}f}"
    return mean + (f" ± {statistics.stdev(defined):.{digits}f}" if len(defined) > 1 else "") + part


def study(folder: Path) -> dict[str, list[Path]]:
    """The run folders ``folder/ROW/SEED`` by row, in the order in which the rows were begun.

    Raises:
        StabError: there are none.
    """
    rows: dict[str, list[Path]] = {}
    for config in folder.glob("*/*/config.yaml"):
        rows.setdefault(config.parts[-3], []).append(config.parent)
    if not rows:
        raise StabError(f"{folder} holds no runs ROW/SEED; egs/study.sh makes them")
    begun = {row: min((run / "config.yaml").stat().st_mtime for run in runs) for row, runs in rows.items()}
    return {row: sorted(rows[row]) for row in sorted(rows, key=lambda row: (begun[row], row))}


def table(folder: Path, split: str) -> list[str]:
    """The lines of the study's table, in Markdown."""
    from asteroid_stab.report.run_data import read_runs

    head = ["row", "seeds", *(HEAD[name].format(split=split) for name in Figures._fields)]
    lines = [head, ["---"] * len(head)]
    for row, runs in study(folder).items():
        columns = zip(*(figures(run) for run in read_runs(runs, split)), strict=True)
        cells = [spread(values, _DIGITS[name]) for name, values in zip(Figures._fields, columns, strict=True)]
        lines.append([row, str(len(runs)), *cells])
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def main(argv: list[str]) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="asteroid-stab compare", description=SUMMARY)
    parser.add_argument("folder", type=Path, metavar="DIR", help="study folder: DIR/ROW/SEED are run folders")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="default: %(default)s")
    options = parser.parse_args(argv)
    print("\n".join(table(options.folder, options.split)))
    return 0
