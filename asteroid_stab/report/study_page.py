"""The page of a study: its tables, differences with their intervals, curves of each row over its seeds, and cost."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd

from asteroid_stab.metrics.names import COSTS, MetricInfo
from asteroid_stab.metrics.paired import LEVEL, Difference, verdict
from asteroid_stab.paths import shown
from asteroid_stab.report.page import render_sections
from asteroid_stab.report.palette import run_key, stand_in
from asteroid_stab.report.parts import Figure, Key, Note, Part, Section, Table
from asteroid_stab.report.plot import Plot
from asteroid_stab.report.run_data import Run
from asteroid_stab.report.wording import UNDEFINED, duration, number, parameters
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.study import GAIN, StudyTables
from asteroid_stab.run.study_differences import difference_table
from asteroid_stab.run.study_steps import cpu_seconds_of

Rows = Mapping[str, Sequence[Run]]


def render_study(study: StudyTables, split: str, title: str) -> str:
    """The HTML page of a study.

    Args:
        study: the study.
        split: the split whose evaluations it has.
        title: the title of the page.
    """
    keys = {row: run_key(index, row) for index, row in enumerate(study.rows)}
    sections = [_overview(study, split, keys), _training(study.rows, keys), _cost(study.rows, keys)]
    return render_sections(title, list(keys.values()), sections)


def _overview(study: StudyTables, split: str, keys: Mapping[str, Key]) -> Section:
    """The tables of the rows and of their differences, and a picture of the second."""
    head, *rows = study.results
    looks = [*keys.values(), *([Key("", "var(--soft)")] * (len(rows) - len(keys)))]  # beamformers come last
    parts: list[Part] = [Table("Rows: mean ± standard deviation over the seeds", head, rows, looks)]
    intro = ""
    if study.compared:
        parts.append(_intervals(study.compared, split, keys))
        head, *rows = difference_table(study.compared, split)
        parts.append(Table("Paired differences", head, rows, [keys[row] for row, _, _ in study.compared]))
        intro = (
            "Each row is compared with another one, or with a beamformer, on the same seeds and mixtures. An interval "
            "that holds 0 shows no difference, and how large one could still be."
        )
    parts += [Note(note.removeprefix("note: ")) for note in study.notes if note]
    return Section("overview", "Results", parts, intro)


def _intervals(compared: Sequence[tuple[str, str, Difference]], split: str, keys: Mapping[str, Key]) -> Figure:
    """A picture of the differences: a line for each interval, and a point for each mean."""
    words = [f"{row} beside {first}: {verdict(one, GAIN.unit, GAIN.digits)}" for row, first, one in compared]
    title = f"Difference of {split} {GAIN.label}"
    plot = Plot("differences", f"difference ({GAIN.unit})", "", alt=f"{title} with intervals. {'; '.join(words)}.")
    plot.upright(0.0, Key("", "var(--soft)"))
    places = range(len(compared), 0, -1)  # the first on top
    for place, (row, _, one), text in zip(places, compared, words, strict=True):
        if not math.isnan(one.half):
            plot.curve([one.mean - one.half, one.mean + one.half], [place] * 2, keys[row])
        plot.scatter([one.mean], [place], keys[row], [text])
    others = {other for _, other, _ in compared}
    labels = [shown(row if len(others) == 1 else f"{row} – {other}") for row, other, _ in compared]
    plot.axes.set_yticks(list(places), labels)
    plot.axes.set_ylim(0.4, len(compared) + 0.6)
    caption = f"Point: mean over seeds and mixtures, right of 0 is better; line: the interval of {LEVEL:.0%}."
    return Figure(plot.svg(), title, plot.alt, caption)


def _training(rows: Rows, keys: Mapping[str, Key]) -> Section:
    """Curves by epoch of every row."""
    figures = [
        _curves("val-si-sdr-i", f"Validation {GAIN.label}", f"{GAIN.label} (dB)", rows, keys, _quality),
        _curves("switch-ratio", "Switch ratio", "items that switched (%)", rows, keys, _switches, zero=True),
    ]
    parts: list[Part] = [figure for figure in figures if figure is not None]
    if not parts:
        parts.append(Note("No run has a validation score or a table of switches."))
    intro = "Line: mean over the seeds of a row; area: from the lowest seed to the highest."
    return Section("training", "Training", parts, intro)


def _quality(run: Run) -> pd.Series | None:
    return run.column("val/si_sdr_i")


def _switches(run: Run) -> pd.Series | None:
    values = run.switch_ratio()
    return None if values is None or values.empty else 100 * values


def _curves(
    name: str,
    title: str,
    ylabel: str,
    rows: Rows,
    keys: Mapping[str, Key],
    values_of: Callable[[Run], pd.Series | None],
    zero: bool = False,
) -> Figure | None:
    """A picture of a value by epoch, a line for each row; None where no run has it."""
    found = {row: [values for run in runs if (values := values_of(run)) is not None] for row, runs in rows.items()}
    tables = {row: pd.concat(values, axis=1).sort_index() for row, values in found.items() if values}
    if not tables:
        return None
    ends = [f"{row}: {number(t.mean(axis=1).iloc[-1])} at epoch {t.index[-1]}" for row, t in tables.items()]
    plot = Plot(name, "epoch", ylabel, alt=f"Line chart of {title} by epoch. {'; '.join(ends)}.")
    for row, by_epoch in tables.items():
        key, epochs, mean = keys[row], list(by_epoch.index), by_epoch.mean(axis=1)
        low, high = by_epoch.min(axis=1), by_epoch.max(axis=1)
        if by_epoch.shape[1] > 1:
            plot.axes.fill_between(epochs, low, high, color=stand_in(key.colour), alpha=0.15, linewidth=0)
        tips = [
            f"{row}, epoch {epoch}: {number(mean[epoch])} ({number(low[epoch])} to {number(high[epoch])})"
            for epoch in epochs
        ]
        plot.line(epochs, list(mean), key, tips)
    plot.whole_numbers()
    if zero:
        plot.axes.set_ylim(bottom=0)
    return Figure(plot.svg(), title, plot.alt, "", [keys[row] for row in tables])


def _cost(rows: Rows, keys: Mapping[str, Key]) -> Section:
    """The cost of each row: parameters and time."""
    measured = [name for name in COSTS if any(run.evaluation and name in run.evaluation.cost for run in _all(rows))]
    models = {name: COSTS[name] for name in measured if name != "n_parameters"}
    head = ["row", "parameters", *(info.title for info in models.values())]
    head += ["CPU time of a seed", "training of a seed", "an epoch", "a step", "machine"]
    cells = [[row, *_costs(runs, models)] for row, runs in rows.items()]
    note = Note(
        "Times are of the machine that trained, with all that ran beside: other machines have others. CPU time is what "
        "processors computed for training and evaluation, which work beside it changes little."
    )
    table = Table("Cost: mean over the seeds", head, cells, list(keys.values()))
    return Section("cost", "Cost", [table, note])


def _all(rows: Rows) -> Iterator[Run]:
    return (run for runs in rows.values() for run in runs)


def _costs(runs: Sequence[Run], models: Mapping[str, MetricInfo]) -> Iterator[str]:
    sizes = dict.fromkeys(parameters(run.versions.get("n_parameters")) for run in runs)
    yield ", ".join(sizes)
    for name, info in models.items():
        values = [run.evaluation.cost[name] for run in runs if run.evaluation and name in run.evaluation.cost]
        yield number(_mean(values), info.digits)
    timed = [(seconds, run.column("step")) for run in runs if (seconds := run.column("seconds")) is not None]
    totals = [float(seconds.sum()) for seconds, _ in timed]
    epochs = [float(seconds.mean()) for seconds, _ in timed]
    steps = [1000 * seconds.sum() / step.iloc[-1] for seconds, step in timed if step is not None and step.iloc[-1]]
    noted = [seconds for run in runs if not math.isnan(seconds := cpu_seconds_of(RunLayout(run.path)))]
    yield duration(_mean(noted))
    yield duration(_mean(totals))
    yield duration(_mean(epochs))
    yield number(_mean(steps), 1, "ms")
    yield ", ".join(dict.fromkeys(str(run.versions.get("device", UNDEFINED)) for run in runs))


def _mean(values: Sequence[float]) -> float:
    return statistics.mean(values) if values else math.nan
