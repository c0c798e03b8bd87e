"""``asteroid-stab compare DIR``: the table of a study, with its spread over seeds."""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from asteroid_stab.errors import StabError
from asteroid_stab.metrics.summary import PERCENTILES

if TYPE_CHECKING:
    from asteroid_stab.report.run_data import Run

SUMMARY = "prints the table of a study: DIR/ROW/SEED run folders, mean and spread over the seeds"


NUMBERS = ("mean", "std", *(f"p{p}" for p in PERCENTILES))


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


def _measured(run: Run) -> dict[str, float]:
    """The SI-SDRi's numbers; none where the run went on since it was evaluated."""
    if run.evaluation is None or run.evaluation.of_another_model:
        return {}
    return run.metric("si_sdr_i") or {}


def figures(run: Run) -> Figures:
    """What a run came to."""
    test = _measured(run)
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


def distribution(folder: Path, split: str) -> list[str]:
    """The lines of a table of the SI-SDRi's mean, standard deviation and percentiles, of mixtures and of classes."""
    head = ["row", "of", "mean", "std", *(f"q{p}" for p in PERCENTILES)]
    lines = [head, ["---"] * len(head)]
    for row, tables in _evaluations(folder, split).items():
        names = list(dict.fromkeys(name for table in tables for name in table))
        for name in names:
            columns = [[table.get(name, {}).get(key, math.nan) for table in tables] for key in NUMBERS]
            lines.append([row, name, *(spread(values, 2) for values in columns)])
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def picture(folder: Path, split: str, file: Path) -> None:
    """Draws the percentiles of the SI-SDRi of every row: the mean over the seeds, and their range.

    Raises:
        StabError: nothing was evaluated, or the file is of no kind that can be drawn.
    """
    import matplotlib as mpl
    import numpy as np

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for row, tables in _evaluations(folder, split).items():
        values = np.array([[t["mixtures"].get(f"p{p}", np.nan) for p in PERCENTILES] for t in tables])
        if np.isfinite(values).any():
            places = np.arange(len(PERCENTILES))
            (line,) = axes.plot(places, np.nanmean(values, 0), marker="o", label=row)
            axes.fill_between(places, np.nanmin(values, 0), np.nanmax(values, 0), color=line.get_color(), alpha=0.2)
    if not axes.lines:
        raise StabError(f"no run of {folder} has an evaluation of {split}")
    axes.set_xticks(range(len(PERCENTILES)), [str(p) for p in PERCENTILES])
    axes.set_xlabel("percentile of the mixtures")
    axes.set_ylabel(f"{split} SI-SDRi, dB")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    try:
        figure.savefig(file, dpi=150)
    except (OSError, ValueError) as error:
        raise StabError(f"cannot draw {file}: {error}") from error
    finally:
        plt.close(figure)


def _evaluations(folder: Path, split: str) -> dict[str, list[dict[str, dict[str, float]]]]:
    """Of every row and run the numbers of the SI-SDRi: of the mixtures, and of the sources of each class."""
    from asteroid_stab.report.run_data import read_runs

    found: dict[str, list[dict[str, dict[str, float]]]] = {}
    for row, runs in study(folder).items():
        found[row] = []
        for run in read_runs(runs, split):
            mixtures = _measured(run)
            found[row].append({"mixtures": mixtures})
            if mixtures and run.evaluation:
                found[row][-1].update(run.evaluation.classes)
    return found


def main(argv: list[str]) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="asteroid-stab compare", description=SUMMARY)
    parser.add_argument("folder", type=Path, metavar="DIR", help="study folder: DIR/ROW/SEED are run folders")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="default: %(default)s")
    parser.add_argument(
        "--distribution", action="store_true", help="mean, deviation and percentiles of the SI-SDRi, also by class"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the percentiles to FILE (.svg, .png, .pdf)")
    options = parser.parse_args(argv)
    print("\n".join((distribution if options.distribution else table)(options.folder, options.split)))
    if options.picture is not None:
        picture(options.folder, options.split, options.picture)
    return 0
