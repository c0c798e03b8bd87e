"""Tables of a study, mean and spread over its seeds: scores, their distribution, and switches by epoch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from asteroid_stab.errors import StabError, nearest
from asteroid_stab.metrics.names import MetricInfo, column_info
from asteroid_stab.run.layout import RunLayout, StudyLayout, study_runs
from asteroid_stab.run.study_differences import beside_oracles, difference_table, differences
from asteroid_stab.run.study_items import measured, measured_on, n_measured, task, unlike_rows
from asteroid_stab.run.study_record import read_order

if TYPE_CHECKING:
    from asteroid_stab.metrics.paired import Difference
    from asteroid_stab.report.run_data import Run


class Result(NamedTuple):
    """The numbers of one run; nan where it has none."""

    epochs: float
    test: float  # dB
    test_p10: float  # dB
    n: float  # mixtures that the two are over
    valid: float  # dB
    switched: float  # mean ratio over the epochs that have one
    switched_last: float
    speed: float  # steps a second


GAIN = column_info("si_sdr_i")
HEAD = {
    "epochs": MetricInfo("epochs", digits=0),
    "test": MetricInfo("{split} " + GAIN.label, GAIN.unit, GAIN.digits),
    "test_p10": MetricInfo("10th percentile", GAIN.unit, GAIN.digits),
    "n": MetricInfo("mixtures", digits=0),
    "valid": MetricInfo("best val " + GAIN.label, GAIN.unit, GAIN.digits),
    "switched": MetricInfo("switches, mean", "%", 1),
    "switched_last": MetricInfo("switches, last epoch", "%", 1),
    "speed": MetricInfo("steps/s"),
}


def title_of(info: MetricInfo) -> str:
    """The head of a column: label and unit."""
    return f"{info.label}, {info.unit}" if info.unit else info.label


def result(run: Run) -> Result:
    """The numbers of a run in the study's table."""
    test = measured(run)
    valid = run.validation
    switches, seconds, steps = run.switch_ratio(), run.column("seconds"), run.column("step")
    defined = switches is not None and len(switches) > 0
    return Result(
        epochs=math.nan if run.metrics is None else len(run.metrics),
        test=test.get("mean", math.nan),
        test_p10=test.get("p10", math.nan),
        n=n_measured(run),
        valid=math.nan if valid is None else float(valid.max()),
        switched=100 * float(switches.mean()) if defined else math.nan,  # type: ignore[union-attr]
        switched_last=100 * float(switches.iloc[-1]) if defined else math.nan,  # type: ignore[union-attr]
        speed=math.nan if seconds is None or steps is None or not seconds.sum() else steps.iloc[-1] / seconds.sum(),
    )


def spread(values: Sequence[float], digits: int) -> str:
    """Mean ± standard deviation of the defined values, with their number if some are undefined; a dash if all are.

    Counts (``digits`` 0) are not averaged: the least and the largest are given if they differ.

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
    has_spread = len(defined) > 1 and all(map(math.isfinite, defined))
    return mean + (f" ± {statistics.stdev(defined):.{digits}f}" if has_spread else "") + part


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown.

    Example:
        >>> markdown([["row", "n"], ["---", "---"], ["a|b", "2"]])
        ['| row | n |', '| --- | --- |', '| a\\\\|b | 2 |']
    """
    return ["| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |" for cells in rows]


def study(folder: Path) -> dict[str, list[Path]]:
    """The run folders ``folder/ROW/SEED`` by row: in the order of the study's files, then that in which rows began.

    Raises:
        StabError: the folder holds no runs.
    """
    rows: dict[str, list[Path]] = {}
    for run in study_runs(folder):
        rows.setdefault(run.root.parts[-2], []).append(run.root)
    if not rows:
        raise StabError(f"{folder} holds no runs ROW/SEED; asteroid-stab study makes them")
    start = {row: min(RunLayout(run).config.stat().st_mtime for run in runs) for row, runs in rows.items()}
    order = read_order(StudyLayout(folder))
    place = {row: order.index(row) if row in order else len(order) for row in rows}
    return {row: sorted(rows[row]) for row in sorted(rows, key=lambda row: (place[row], start[row], row))}


class StudyTables(NamedTuple):
    """A study, read.

    Attributes:
        rows: the runs of each row, in the rows' order.
        results: the table of the rows: its head, and a line of cells for each row, then for each beamformer.
        compared: each row with its baseline, or with a beamformer, and its difference from it.
        notes: sentences on evaluations that are of different mixtures.
    """

    rows: dict[str, list[Run]]
    results: list[list[str]]
    compared: list[tuple[str, str, Difference]]
    notes: list[str]


def read_study(folder: Path, split: str, baseline: str | None = None, corpus: str = "") -> StudyTables:
    """Reads the runs of a study and compares its rows.

    Args:
        folder: the folder of the study.
        split: the split whose evaluations are read.
        baseline: the row that the others are compared with; by default the first.
        corpus: another corpus than the runs' own, on which they were evaluated.

    Raises:
        StabError: the folder holds no runs, or ``baseline`` is no row, or was not evaluated.
    """
    from asteroid_stab.report.run_data import read_runs

    head = ["row", "seeds", *(title_of(HEAD[name]).format(split=measured_on(split, corpus)) for name in Result._fields)]
    lines = [head]
    rows = {row: read_runs(runs, split, corpus) for row, runs in study(folder).items()}
    unlike, notes = unlike_rows(rows)
    for row, runs in rows.items():
        no_mean = {"test": math.nan, "test_p10": math.nan} if row in unlike else {}
        columns = zip(*(result(run)._replace(**no_mean) for run in runs), strict=True)
        cells = [spread(values, HEAD[name].digits) for name, values in zip(Result._fields, columns, strict=True)]
        lines.append([row, str(len(runs)), *cells])
    alike = {row: runs for row, runs in rows.items() if row not in unlike}
    oracles, beside = beside_oracles(alike)
    for one in oracles:
        numbers = one.metrics.get("si_sdr_i", {})
        reached = {"test": numbers.get("mean"), "test_p10": numbers.get("p10"), "n": numbers.get("n")}
        figures = [(name, reached.get(name)) for name in Result._fields]
        lines.append([one.of, "–", *(spread([math.nan if x is None else x], HEAD[name].digits) for name, x in figures)])
    compared = [*differences(alike, baseline), *beside]
    return StudyTables(rows, lines, compared, notes)


def table(folder: Path, split: str, baseline: str | None = None, corpus: str = "") -> list[str]:
    """The lines of the study's table, in Markdown, of the differences from a baseline, and of notes."""
    found = read_study(folder, split, baseline, corpus)
    tables = [
        found.results,
        *([difference_table(found.compared, measured_on(split, corpus))] if found.compared else []),
    ]
    lines = [markdown([head, ["---"] * len(head), *cells]) for head, *cells in tables]
    return [*lines[0], *(line for more in lines[1:] for line in ("", *more)), *found.notes]


def by_epoch(folder: Path) -> list[str]:
    """The lines of a table of the switches in every epoch, in percent, as the mean over the seeds."""
    from asteroid_stab.report.run_data import read_runs

    curves = {}
    for row, runs in study(folder).items():
        found = [switches for run in read_runs(runs, "test") if (switches := run.switch_ratio()) is not None]
        if any(len(values) for values in found):
            curves[row] = [dict(zip(values.index, 100 * values, strict=True)) for values in found]
    if not curves:
        raise StabError(f"no run of {folder} has a table of switches")
    epochs = sorted({int(epoch) for runs in curves.values() for values in runs for epoch in values})
    lines = [["row", *map(str, epochs)], ["---"] * (len(epochs) + 1)]
    for row, values in curves.items():
        cells = [[run[epoch] for run in values if epoch in run] for epoch in epochs]
        lines.append([row, *(f"{statistics.mean(cell):.1f}" if cell else "–" for cell in cells)])
    return markdown(lines)


def reached(folder: Path, goal: str) -> list[str]:
    """The lines of a table of the epochs that every row needed for the last validation SI-SDRi of the row ``goal``.

    A run is compared with the run of the same seed in that row, unless it has another number of sources. Epochs are
    counted from 1.

    Raises:
        StabError: there is no such row, or none of its runs was validated.
    """
    from asteroid_stab.report.run_data import read_runs

    rows = study(folder)
    if goal not in rows:
        raise StabError(f"{folder} has no row {goal!r}{nearest(goal, rows)}")
    read = {row: read_runs(runs, "test") for row, runs in rows.items()}
    goal_task = task(read[goal][0])
    curves = {
        row: [run.column("val/si_sdr_i") if task(run) == goal_task else None for run in runs]
        for row, runs in read.items()
    }
    pairs = zip(rows[goal], curves[goal], strict=True)
    goals = {path.name: float(curve.iloc[-1]) for path, curve in pairs if curve is not None}
    if not goals:
        raise StabError(f"no run of row {goal!r} was validated")
    lines = [["row", f"epochs to the last val SI-SDRi of {goal}"], ["---", "---"]]
    for row, runs in rows.items():
        counts = []
        for path, curve in zip(runs, curves[row], strict=True):
            there = None if curve is None or path.name not in goals else curve.index[curve >= goals[path.name]]
            counts.append(math.nan if there is None or not len(there) else float(there[0]))
        lines.append([row, spread(counts, 0)])
    return markdown(lines)
