"""Distribution of the SI-SDRi over the mixtures of an evaluation: histogram, percentiles, difficulty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from asteroid_stab.metrics.names import PERCENTILES
from asteroid_stab.report.metric_tables import class_tables, left_out, metric_tables, number_tables, oracle_tables
from asteroid_stab.report.palette import run_key, stand_in
from asteroid_stab.report.parts import Figure, Key, Note, Part, Section
from asteroid_stab.report.plot import Plot
from asteroid_stab.report.run_data import Run
from asteroid_stab.report.wording import count, number

MAX_TIPS = 2000  # points of a run; with more the texts of the tips would be most of the page
N_BINS = 8


def evaluation(runs: Sequence[Run]) -> Section | None:
    """Pictures of the SI-SDRi and tables of every metric; ``None`` if no run was evaluated."""
    evaluated = [run for run in runs if run.evaluation is not None]
    if not evaluated:
        return None
    defined = [run for run in evaluated if len(finite(run))]
    parts: list[Part] = []
    if defined:
        parts += [_histogram(defined), _percentiles(defined), _scatter(defined)]
    parts += metric_tables(evaluated) + oracle_tables(evaluated)
    parts += number_tables(evaluated) + class_tables(evaluated)
    places = {run.name: run.evaluation for run in evaluated if run.evaluation}
    shown = ", ".join(f"{name}: {one.mixtures}" for name, one in places.items())
    if not all(one.is_on_mixtures_of(next(iter(places.values()))) for one in places.values()):
        parts.append(Note(f"The runs were evaluated on different mixtures and cannot be compared ({shown})."))
    elif any(one.is_part or one.target for one in places.values()):
        parts.append(Note(f"Measured: {shown}."))
    for run in evaluated:
        parts += left_out(run, len(finite(run)))
    intro = f"Whole mixtures of the {evaluated[0].split} split; each metric is the mean over a mixture's sources."
    return Section("evaluation", "Evaluation", parts, intro)


def finite(run: Run) -> pd.DataFrame:
    """The mixtures of an evaluated run whose SI-SDRi is defined."""
    assert run.evaluation is not None
    return run.evaluation.utterances[np.isfinite(run.evaluation.utterances["si_sdr_i"])]


def binned_median(x: np.ndarray, y: np.ndarray, n_bins: int = N_BINS) -> tuple[np.ndarray, np.ndarray]:
    """Mean x and median y in bins of x that hold equally many points.

    Args:
        x: finite values.
        y: finite values, one for each of ``x``.
        n_bins: number of bins; the number of points, if that is smaller.

    Shapes:
        x, y: [N]; each result: [min(n_bins, N)].

    Example:
        >>> binned_median(np.array([3.0, 0.0, 1.0, 2.0]), np.array([9.0, 1.0, 3.0, 7.0]), n_bins=2)
        (array([0.5, 2.5]), array([2., 8.]))
    """
    groups = np.array_split(np.argsort(x, kind="stable"), min(n_bins, len(x)))
    return np.array([x[group].mean() for group in groups]), np.array([np.median(y[group]) for group in groups])


def _values(runs: Sequence[Run]) -> list[tuple[str, np.ndarray, Key]]:
    return [(run.name, finite(run)["si_sdr_i"].to_numpy(), run_key(run.index, run.name)) for run in runs]


def _legend(runs: Sequence[Run]) -> list[Key]:
    return [run_key(run.index, run.name) for run in runs] if len(runs) > 1 else []


def _histogram(runs: Sequence[Run]) -> Figure:
    values = _values(runs)
    means = "; ".join(f"{name}: mean {number(own.mean(), 2, 'dB')}" for name, own, _ in values)
    alt = f"Histogram of the SI-SDRi of the mixtures. {means}."
    plot = Plot("histogram", "SI-SDRi (dB)", "mixtures (%)", alt)
    pooled = np.concatenate([own for _, own, _ in values])
    n_bins = int(np.clip(len(np.histogram_bin_edges(pooled, "auto")) - 1, 8, 40))
    edges = np.histogram_bin_edges(pooled, n_bins)
    for _, own, key in values:
        plot.steps(100 * np.histogram(own, edges)[0] / len(own), edges, key)
        plot.upright(float(own.mean()), key)
    caption = "Share of the mixtures in each interval; the dotted vertical line is the mean."
    return Figure(plot.svg(), "SI-SDRi over the mixtures", alt, caption, _legend(runs))


def _percentiles(runs: Sequence[Run]) -> Figure:
    values = _values(runs)
    marks = [(name, np.percentile(own, PERCENTILES), key) for name, own, key in values]
    ends = [f"{name}: {number(at[0], 2, 'dB')} to {number(at[-1], 2, 'dB')}" for name, at, _ in marks]
    alt = f"Percentiles of the SI-SDRi, from the 1st to the 99th. {'; '.join(ends)}."
    plot = Plot("percentiles", "percentile of the mixtures", "SI-SDRi (dB)", alt)
    fine = np.arange(1, 100)
    for _, own, key in values:
        plot.curve(fine, np.percentile(own, fine), key)
    for name, at, key in marks:
        texts = (number(value, 2, "dB") for value in at)
        tips = [f"{name}, percentile {p}: {text}" for p, text in zip(PERCENTILES, texts, strict=True)]
        plot.scatter(PERCENTILES, at, key, tips)
    crowded = (5, 95)  # their labels would touch those of 1 and 99
    plot.axes.set_xticks(PERCENTILES, ["" if p in crowded else str(p) for p in PERCENTILES])
    caption = "The SI-SDRi that this share of the mixtures does not exceed; the hardest mixtures are on the left."
    return Figure(plot.svg(), "Percentiles", alt, caption, _legend(runs))


def _scatter(runs: Sequence[Run]) -> Figure:
    points = count(sum(len(finite(run)) for run in runs), "mixture")
    alt = f"Scatter plot of the SI-SDRi against the input SI-SDR of {points}, with the median in equal bins."
    plot = Plot("scatter", "input SI-SDR (dB)", "SI-SDRi (dB)", alt)
    plot.axes.axhline(0, color=stand_in("var(--soft)"), linewidth=0.8)
    for run in runs:
        rows = finite(run)
        rows = rows[np.isfinite(rows["input_si_sdr"])]
        x, y = rows["input_si_sdr"].to_numpy(), rows["si_sdr_i"].to_numpy()
        tips = [
            f"{name}: input {number(before, 2, 'dB')}, SI-SDRi {number(gain, 2, 'dB')}"
            for name, before, gain in zip(rows["name"], x, y, strict=True)
        ]
        key = run_key(run.index)
        plot.scatter(x, y, key, tips if len(tips) <= MAX_TIPS else ())
        if len(x) >= 3 * N_BINS:  # a median of fewer than three points means little
            plot.curve(*binned_median(x, y), key)
    caption = "One point for each mixture; the line is the median in eight equally filled bins. Below 0: made worse."
    return Figure(plot.svg(), "SI-SDRi by difficulty of the input", alt, caption, _legend(runs))
