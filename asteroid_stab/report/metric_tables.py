"""Every metric of an evaluation in numbers: mean, standard deviation and percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from asteroid_stab.report.palette import run_key
from asteroid_stab.report.parts import Note, Part, Table
from asteroid_stab.report.run_data import Run
from asteroid_stab.report.wording import count, number
from asteroid_stab.run.layout import RunLayout

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)
# name: (label, unit, decimals); in the order of the tables
METRICS = {
    "si_sdr": ("SI-SDR", "dB", 2),
    "sdr": ("SDR", "dB", 2),
    "sir": ("SIR", "dB", 2),
    "sar": ("SAR", "dB", 2),
    "stoi": ("STOI", "", 3),
    "pesq": ("PESQ", "", 2),
    "snr": ("SNR", "dB", 2),
    "n_iterations": ("iterations", "", 2),
}
# The SAR of a noiseless mixture is infinite (metrics cap it at 100 dB), so what a model adds to it means nothing.
OMITTED = ("sar_i", "input_sar")
NAMES = [*(f"{metric}_i" for metric in METRICS), *METRICS, *(f"input_{metric}" for metric in METRICS)]
MOST_NAMED = 5
TITLE = "mean, standard deviation and percentiles over the mixtures"


def metric_tables(runs: Sequence[Run]) -> list[Part]:
    """One run: a table with a row for each metric. Several: a table for each metric, with a row for each run.

    Args:
        runs: evaluated runs.
    """
    measured = [run.evaluation.metrics for run in runs if run.evaluation]
    known = [name for metrics in measured for name, values in metrics.items() if not isnan(values["mean"])]
    present = [name for name in known if name not in OMITTED]
    names = [name for name in NAMES if name in present] + [name for name in dict.fromkeys(present) if name not in NAMES]
    head = ["mean", "std", *(f"{p} %" for p in PERCENTILES)]
    if len(runs) == 1:
        rows = [[_named(name), *_cells(runs[0], name)] for name in names]
        return [Table(f"Metrics: {TITLE}", ["Metric", *head], rows)]
    return [
        Table(
            f"{_named(name)}: {TITLE}",
            ["Run", *head],
            [[run.name, *_cells(run, name)] for run in runs],
            keys=[run_key(run.index) for run in runs],
            folded=name != "si_sdr_i",
        )
        for name in names
    ]


def class_tables(runs: Sequence[Run]) -> list[Part]:
    """The SI-SDRi of the sources by class, in which sources have one: a table with a row for each class and run."""
    rows, keys = [], []
    for run in runs:
        for name, values in (run.evaluation.classes if run.evaluation else {}).items():
            numbers = [number(values.get(key), 2) for key in ("mean", "std", *(f"p{p}" for p in PERCENTILES))]
            rows.append([*([run.name] if len(runs) > 1 else []), name, f"{values['n']:,.0f}", *numbers])
            keys.append(run_key(run.index))
    if not rows:
        return []
    head = [*(["Run"] if len(runs) > 1 else []), "Class", "sources", "mean", "std", *(f"{p} %" for p in PERCENTILES)]
    return [Table("SI-SDRi (dB) of the sources by class", head, rows, keys=keys if len(runs) > 1 else ())]


def metric_label(name: str) -> tuple[str, str, int]:
    """Label, unit and decimals of a column of the evaluation; a metric that is not known keeps its own name.

    Example:
        >>> metric_label("si_sdr_i"), metric_label("input_stoi"), metric_label("wer")
        (('SI-SDRi', 'dB', 2), ('input STOI', '', 3), ('wer', '', 3))
    """
    bare = name.removeprefix("input_").removesuffix("_i")
    label, unit, digits = METRICS.get(bare, (bare, "", 3))
    before = "input " if name.startswith("input_") else ""
    return before + label + ("i" if name.endswith("_i") else ""), unit, digits


def left_out(run: Run, n_finite: int) -> list[Part]:
    """What the numbers of an evaluated run leave out.

    Args:
        run: the run.
        n_finite: its mixtures with a defined SI-SDRi.
    """
    assert run.evaluation is not None
    notes: list[Part] = []
    total = len(run.evaluation.utterances)
    if n_finite < total:
        text = f"the SI-SDRi is undefined for {total - n_finite:,} of {count(total, 'mixture')}"
        notes.append(Note(f"{run.name}: {text}, which the pictures leave out."))
    if run.evaluation.of_another_model:
        text = f"the evaluation is of another model than {RunLayout(run.path).model.name}, which was written later"
        notes.append(Note(f"{run.name}: {text}.", run.evaluate_command))
    for metric, names in run.evaluation.failures.items():
        named = [f"{name}: {reason}" if reason else name for name, reason in list(names.items())[:MOST_NAMED]]
        listed = "; ".join(named) + ("; …" if len(names) > MOST_NAMED else "")
        text = f"{metric_label(metric)[0]} could not be computed for {count(len(names), 'mixture')}"
        notes.append(Note(f"{run.name}: {text} ({listed})."))
    return notes


def _named(metric: str) -> str:
    label, unit, _ = metric_label(metric)
    return f"{label} ({unit})" if unit else label


def _cells(run: Run, metric: str) -> list[str]:
    values = run.metric(metric) or {}
    digits = metric_label(metric)[2]
    return [number(values.get(key), digits) for key in ("mean", "std", *(f"p{p}" for p in PERCENTILES))]
