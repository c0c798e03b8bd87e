"""Tables of a study, mean and spread over its seeds: scores, their distribution, and switches by epoch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

from asteroid_stab.errors import StabError, nearest
from asteroid_stab.metrics.names import INPUT_SNR, NUMBERS, PERCENTILES, MetricInfo, column_info
from asteroid_stab.run.layout import RunLayout, study_runs
from asteroid_stab.run.resolve import corpus_value
from asteroid_stab.run.upgrade import upgrade_config

if TYPE_CHECKING:
    from asteroid_stab.report.run_data import Run

QUARTERS = ("lowest quarter of SNR", "second", "third", "highest")


class Result(NamedTuple):
    """The numbers of one run; nan where it has none."""

    epochs: float
    test: float  # dB
    test_p10: float  # dB
    valid: float  # dB
    switched: float  # mean ratio over the epochs that have one
    switched_last: float
    speed: float  # steps a second


_GAIN = column_info("si_sdr_i")
HEAD = {
    "epochs": MetricInfo("epochs", digits=0),
    "test": MetricInfo("{split} " + _GAIN.label, _GAIN.unit, _GAIN.digits),
    "test_p10": MetricInfo("10th percentile", _GAIN.unit, _GAIN.digits),
    "valid": MetricInfo("best val " + _GAIN.label, _GAIN.unit, _GAIN.digits),
    "switched": MetricInfo("switches, mean", "%", 1),
    "switched_last": MetricInfo("switches, last epoch", "%", 1),
    "speed": MetricInfo("steps/s"),
}


def _title(info: MetricInfo) -> str:
    return f"{info.label}, {info.unit}" if info.unit else info.label


def _task(run: Run) -> tuple[int | None, bool]:
    """Number of sources in a run's mixtures, and whether it trains on a pretext task, whose scores mean nothing."""
    try:
        config = upgrade_config(yaml.safe_load(run.config) or {})
        data = config.get("data")
        return corpus_value(data, "n_src") if data else None, bool(config.get("pretext"))
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:  # of another type, or without a part
        raise StabError(f"the config of {run.path} is of no run: {error}") from error


def _measured(run: Run) -> dict[str, float]:
    """The numbers of the SI-SDRi; none if the run went on after its evaluation, or trains on a pretext task."""
    if run.evaluation is None or run.evaluation.of_another_model or _task(run)[1]:
        return {}
    return run.metric("si_sdr_i") or {}


def result(run: Run) -> Result:
    """The numbers of a run in the study's table."""
    test = _measured(run)
    valid = run.validation
    switches, seconds, steps = run.switch_ratio(), run.column("seconds"), run.column("step")
    defined = switches is not None and len(switches) > 0
    return Result(
        epochs=math.nan if run.metrics is None else len(run.metrics),
        test=test.get("mean", math.nan),
        test_p10=test.get("p10", math.nan),
        valid=math.nan if valid is None else float(valid.max()),
        switched=100 * float(switches.mean()) if defined else math.nan,  # type: ignore[union-attr]
        switched_last=100 * float(switches.iloc[-1]) if defined else math.nan,  # type: ignore[union-attr]
        speed=math.nan if seconds is None or steps is None else float(steps.iloc[-1] / seconds.sum()),
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
    return mean + (f" ± {statistics.stdev(defined):.{digits}f}" if len(defined) > 1 else "") + part


def study(folder: Path) -> dict[str, list[Path]]:
    """The run folders ``folder/ROW/SEED`` by row; rows are in the order in which they began.

    Raises:
        StabError: the folder holds no runs.
    """
    rows: dict[str, list[Path]] = {}
    for run in study_runs(folder):
        rows.setdefault(run.root.parts[-2], []).append(run.root)
    if not rows:
        raise StabError(f"{folder} holds no runs ROW/SEED; egs/study.sh makes them")
    start = {row: min(RunLayout(run).config.stat().st_mtime for run in runs) for row, runs in rows.items()}
    return {row: sorted(rows[row]) for row in sorted(rows, key=lambda row: (start[row], row))}


def table(folder: Path, split: str) -> list[str]:
    """The lines of the study's table, in Markdown."""
    from asteroid_stab.report.run_data import read_runs

    head = ["row", "seeds", *(_title(HEAD[name]).format(split=split) for name in Result._fields)]
    lines = [head, ["---"] * len(head)]
    for row, runs in study(folder).items():
        columns = zip(*(result(run) for run in read_runs(runs, split)), strict=True)
        cells = [spread(values, HEAD[name].digits) for name, values in zip(Result._fields, columns, strict=True)]
        lines.append([row, str(len(runs)), *cells])
    return ["| " + " | ".join(cells) + " |" for cells in lines]


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
    return ["| " + " | ".join(cells) + " |" for cells in lines]


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
    task = _task(read[goal][0])
    curves = {
        row: [run.column("val/si_sdr_i") if _task(run) == task else None for run in runs] for row, runs in read.items()
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
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def distribution(folder: Path, split: str) -> list[str]:
    """The lines of a table of mean, standard deviation and percentiles of the SI-SDRi, for mixtures and classes."""
    head = ["row", "of", "mean", "std", *(f"q{p}" for p in PERCENTILES)]
    lines = [head, ["---"] * len(head)]
    for row, tables in evaluations(folder, split).items():
        names = list(dict.fromkeys(name for table in tables for name in table))
        for name in names:
            columns = [[table.get(name, {}).get(key, math.nan) for table in tables] for key in NUMBERS]
            lines.append([row, name, *(spread(values, 2) for values in columns)])
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def by_snr(folder: Path, split: str) -> list[str]:
    """The lines of a table of the SI-SDRi and the models' figures, for all mixtures and by quarter of their input SNR.

    Raises:
        StabError: no run was evaluated on noisy mixtures.

    References:
        Bralios et al., arXiv 2211.11917, figure 5.
    """
    import numpy as np

    from asteroid_stab.report.item_figures import binned_means
    from asteroid_stab.report.run_data import read_runs

    lines = [["row", "of", "all", *QUARTERS], ["---"] * (3 + len(QUARTERS))]
    for row, runs in study(folder).items():
        found: dict[str, list[list[float]]] = {}
        titles = {INPUT_SNR: _title(column_info(INPUT_SNR)), "si_sdr_i": f"{split} {_title(_GAIN)}"}
        for run in read_runs(runs, split):
            if not _measured(run) or run.evaluation is None or INPUT_SNR not in run.evaluation.utterances:
                continue
            here = run.evaluation.utterances
            here = here[np.isfinite(here[INPUT_SNR]) & np.isfinite(here["si_sdr_i"])]
            if len(here) < len(QUARTERS):
                continue
            titles |= {name: _title(info) for name, info in run.evaluation.figures.items()}
            for name in titles.keys() & set(here.columns):
                [_, means] = binned_means(here[INPUT_SNR].to_numpy(), [here[name].to_numpy()], len(QUARTERS))
                found.setdefault(name, []).append([float(here[name].mean()), *map(float, means)])
        for name, title in titles.items():
            if name in found:
                cells = [spread(column, 2) for column in zip(*found[name], strict=True)]
                lines.append([row, title, *cells])
    if len(lines) == 2:
        raise StabError(f"no run of {folder} was evaluated on noisy mixtures of {split}")
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def evaluations(folder: Path, split: str) -> dict[str, list[dict[str, dict[str, float]]]]:
    """The numbers of the SI-SDRi of every run, by row: for the mixtures, and for the sources of each class."""
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
