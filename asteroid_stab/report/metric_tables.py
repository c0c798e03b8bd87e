"""Tables of an evaluation's metrics: mean, standard deviation and percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from asteroid_stab.metrics.names import (
    COUNTS,
    INPUT_SNR,
    MEANINGLESS,
    METRICS,
    NUMBERS,
    PERCENTILES,
    MetricInfo,
    column_info,
)
from asteroid_stab.report.evaluation_data import WrittenEvaluation
from asteroid_stab.report.palette import run_key
from asteroid_stab.report.parts import Note, Part, Table
from asteroid_stab.report.run_data import Run
from asteroid_stab.report.wording import count, number, plus_minus
from asteroid_stab.run.layout import RunLayout

COLUMNS = [*METRICS, INPUT_SNR.removeprefix("input_")]
ORDER = [*(f"{metric}_i" for metric in COLUMNS), *COLUMNS, *(f"input_{metric}" for metric in COLUMNS)]
SCORES = ("si_sdr", "si_sdr_i")
LEVELS = ("p10", "p50", "p90")
MOST_NAMED = 5
HEAD = ["mean", "std", *(f"{p} %" for p in PERCENTILES)]
TITLE = "mean, standard deviation and percentiles over the mixtures"


def metric_tables(runs: Sequence[Run]) -> list[Part]:
    """Returns one table with a row for each metric if there is one run, else a table for each metric.

    Args:
        runs: evaluated runs.
    """
    measured = [run.evaluation.metrics for run in runs if run.evaluation]
    known = [name for metrics in measured for name, values in metrics.items() if not isnan(values["mean"])]
    known = [name for name in known if name not in COUNTS]  # number_tables() has them
    present = [name for name in known if name not in MEANINGLESS]
    names = [name for name in ORDER if name in present] + [name for name in dict.fromkeys(present) if name not in ORDER]
    if len(runs) == 1:
        rows = [[_info(runs, name).title, *_cells(runs[0], name)] for name in names]
        return [Table(f"Metrics: {TITLE}", ["Metric", "n", *HEAD], rows)]
    return [
        Table(
            f"{_info(runs, name).title}: {TITLE}",
            ["Run", "n", *HEAD],
            [[run.name, *_cells(run, name)] for run in runs],
            keys=[run_key(run.index) for run in runs],
            folded=name != "si_sdr_i",
        )
        for name in names
    ]


def score_cells(evaluations: Sequence[WrittenEvaluation]) -> list[list[str]]:
    """Returns cells for a table of evaluations: the head, then a row for each of them.

    They are the number of mixtures, mean, deviation and a few percentiles of the SI-SDRi, and means of other metrics.
    """
    gain = column_info("si_sdr_i")
    more = [f"{name}_i" for name in METRICS if name != "si_sdr"]
    more = [name for name in more if any(name in one.metrics for one in evaluations) and name != "sar_i"]
    head = ["mixtures", f"{gain.title}, mean ± std", *(f"{level[1:]} %" for level in LEVELS)]
    rows = [[*head, *(column_info(name).title for name in more)]]
    for one in evaluations:
        numbers = one.metrics.get("si_sdr_i", {})
        means = [number(one.metrics.get(name, {}).get("mean"), column_info(name).digits) for name in more]
        levels = [number(numbers.get(level), gain.digits) for level in LEVELS]
        rows.append([one.n_mixtures, plus_minus(numbers or None), *levels, *means])
    return rows


def oracle_tables(runs: Sequence[Run]) -> list[Part]:
    """A table of the runs and of the beamformers on the same mixtures; none if no beamformer was measured on them.

    Args:
        runs: evaluated runs.
    """
    lines = [(run, run.evaluation) for run in runs if run.evaluation is not None]
    beside = [(run, one) for run, own in lines for one in run.oracles if one.is_on_mixtures_of(own)]
    if not beside:
        return []
    several = len(runs) > 1
    lines = sorted([*lines, *beside], key=lambda line: line[0].index)
    scores, *cells = score_cells([one for _, one in lines])
    rows = [
        [*([run.name] if several else []), one.of or "the model", *numbers]
        for (run, one), numbers in zip(lines, cells, strict=True)
    ]
    title = "Beside beamformers that are given the sources (asteroid-stab evaluate RUN --oracle NAME)"
    keys = [run_key(run.index) for run, _ in lines] if several else ()
    return [Table(title, [*(["Run"] if several else []), "Separated by", *scores], rows, keys=keys)]


def class_tables(runs: Sequence[Run]) -> list[Part]:
    """A table of the SI-SDRi of the sources, with a row for each class and run; none if the sources have no classes."""
    rows, keys, gain = [], [], column_info("si_sdr_i")
    for run in runs:
        for name, values in (run.evaluation.classes if run.evaluation else {}).items():
            numbers = [number(values.get(key), gain.digits) for key in NUMBERS]
            rows.append([*([run.name] if len(runs) > 1 else []), name, number(values["n"], 0), *numbers])
            keys.append(run_key(run.index))
    if not rows:
        return []
    head = [*(["Run"] if len(runs) > 1 else []), "Class", "sources", *HEAD]
    return [Table(f"{gain.title} of the sources by class", head, rows, keys=keys if len(runs) > 1 else ())]


def number_tables(runs: Sequence[Run]) -> list[Part]:
    """A table of the scores by the number of sources, and how often it was counted right; none if it does not vary."""
    rows, keys = [], []
    scores = [column_info(name) for name in SCORES]
    for run in runs:
        table = run.evaluation.utterances if run.evaluation else None
        if table is None or not {*COUNTS, *SCORES} <= {*table.columns}:
            continue
        for n_active, of in table.groupby(COUNTS[0]):
            counted = of[COUNTS[1]].dropna()
            right = f"{(counted == n_active).mean():.0%}" if len(counted) else "-"
            means = [number(of[name].mean(), info.digits) for name, info in zip(SCORES, scores, strict=True)]
            rows.append([*([run.name] if len(runs) > 1 else []), number(n_active, 0), f"{len(of):,}", right, *means])
            keys.append(run_key(run.index))
    if not rows:
        return []
    head = [*(["Run"] if len(runs) > 1 else []), "Sources", "mixtures", "counted right", *(one.title for one in scores)]
    return [Table("Mean scores by the number of sources", head, rows, keys=keys if len(runs) > 1 else ())]


def left_out(run: Run, n_finite: int) -> list[Part]:
    """Notes on the values that the numbers of an evaluated run leave out.

    Args:
        run: the run.
        n_finite: its mixtures with a defined SI-SDRi.
    """
    assert run.evaluation is not None
    notes: list[Part] = []
    total = len(run.evaluation.utterances)
    if n_finite < total:
        text = f"the SI-SDRi is undefined for {total - n_finite:,} of {count(total, 'mixture')}"
        notes.append(Note(f"{run.name}: {text}; the pictures leave these out."))
    if run.evaluation.of_another_model:
        text = f"{RunLayout(run.path).model.name} was written after this evaluation of an earlier model"
        notes.append(Note(f"{run.name}: {text}.", run.evaluate_command))
    for metric, names in run.evaluation.failures.items():
        named = [f"{name}: {reason}" if reason else name for name, reason in list(names.items())[:MOST_NAMED]]
        listed = "; ".join(named) + ("; …" if len(names) > MOST_NAMED else "")
        label = column_info(metric, run.evaluation.figures).label
        text = f"{label} could not be computed for {count(len(names), 'mixture')}"
        notes.append(Note(f"{run.name}: {text} ({listed})."))
    return notes


def _info(runs: Sequence[Run], name: str) -> MetricInfo:
    figures = [run.evaluation.figures for run in runs if run.evaluation and name in run.evaluation.figures]
    return column_info(name, figures[0] if figures else None)


def _cells(run: Run, name: str) -> list[str]:
    values = run.metric(name) or {}
    n = values.get("n")
    return [number(n, 0), *(number(values.get(key), _info([run], name).digits) for key in NUMBERS)]
