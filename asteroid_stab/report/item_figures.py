"""The figures that a model reports of each mixture, and its quality against the figure that measures computation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from asteroid_stab.metrics.names import INPUT_SNR, FigureInfo
from asteroid_stab.report.distribution import N_BINS, finite
from asteroid_stab.report.palette import run_key
from asteroid_stab.report.parts import Figure, Key, Part, Section
from asteroid_stab.report.plot import Plot
from asteroid_stab.report.run_data import Run
from asteroid_stab.report.wording import number

FEWEST = 3  # mixtures in a bin: a mean of fewer means little
MOST_BINS = 40  # of a histogram


def item_figures(runs: Sequence[Run]) -> Section | None:
    """Pictures of the figures that the evaluated models report; ``None`` if no model reports any."""
    declared: dict[str, FigureInfo] = {}
    for run in runs:
        declared |= run.evaluation.figures if run.evaluation else {}
    parts: list[Part] = []
    for name, info in _pictured(declared).items():
        reporting = [run for run in runs if _reports(run, name) and len(_mixtures(run, name)[0])]
        if reporting:
            parts += [_histogram(reporting, name, info), _by_difficulty(reporting, name, info)]
    for name, info in declared.items():
        drawn = [run for run in runs if _points(run, name)] if info.is_cost else []
        if sum(len(_points(run, name)) for run in drawn) > 1:
            parts.append(_by_cost(drawn, name, info))
    named = [f"{info.label} ({info.meaning})" if info.meaning else info.label for info in declared.values()]
    intro = f"Figures that the model reports of each mixture: {', '.join(named)}."
    return Section("item-figures", "Figures of the model", parts, intro) if parts else None


def binned_means(x: np.ndarray, ys: Sequence[np.ndarray], n_bins: int) -> list[np.ndarray]:
    """Means of x, and of each of ys, in bins of x that hold equally many points.

    Args:
        x: finite values.
        ys: values for each of ``x``.
        n_bins: number of bins, at most as many as points.

    Shapes:
        x and each of ys: [N]; each result: [n_bins].

    Example:
        >>> binned_means(np.array([3.0, 0.0, 1.0, 2.0]), [np.array([9.0, 1.0, 3.0, 7.0])], n_bins=2)
        [array([0.5, 2.5]), array([2., 8.])]
    """
    groups = np.array_split(np.argsort(x, kind="stable"), n_bins)
    return [np.array([values[group].mean() for group in groups]) for values in (x, *ys)]


def _pictured(declared: dict[str, FigureInfo]) -> dict[str, FigureInfo]:
    """The figures that get pictures of their own: a cost, which has one already, only if there is no other figure."""
    others = {name: info for name, info in declared.items() if not info.is_cost}
    return others or declared


def _reports(run: Run, name: str) -> bool:
    return run.evaluation is not None and name in run.evaluation.figures and name in run.evaluation.utterances


def _mixtures(run: Run, name: str, level: str = "input_si_sdr") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input level, SI-SDRi and figure of the mixtures for which all three are defined."""
    rows = finite(run)
    rows = rows[np.isfinite(rows[level]) & np.isfinite(rows[name])]
    return rows[level].to_numpy(), rows["si_sdr_i"].to_numpy(), rows[name].to_numpy()


def _legend(runs: Sequence[Run]) -> list[Key]:
    return [run_key(run.index, run.name) for run in runs] if len(runs) > 1 else []


def _edges(values: np.ndarray) -> np.ndarray:
    """Edges of a histogram: a bin for each whole number if there are few, else as many bins as the values need."""
    if (values == values.round()).all() and np.ptp(values) < MOST_BINS:
        return np.arange(min(values.min(), 0) - 0.5, values.max() + 1)
    n_bins = int(np.clip(len(np.histogram_bin_edges(values, "auto")) - 1, 8, MOST_BINS))
    return np.histogram_bin_edges(values, n_bins)


def _histogram(runs: Sequence[Run], name: str, info: FigureInfo) -> Figure:
    reported = [_mixtures(run, name)[2] for run in runs]
    means = "; ".join(f"{run.name}: mean {number(own.mean())}" for run, own in zip(runs, reported, strict=True))
    alt = f"Histogram of the {info.label} of the mixtures. {means}."
    plot = Plot(f"histogram-{name}", info.title, "mixtures (%)", alt)
    edges = _edges(np.concatenate(reported))
    for run, own in zip(runs, reported, strict=True):
        plot.steps(100 * np.histogram(own, edges)[0] / len(own), edges, run_key(run.index))
        plot.upright(float(own.mean()), run_key(run.index))
    plot.whole_numbers()
    caption = f"Share of the mixtures by {info.label}; the dotted vertical line is the mean."
    return Figure(plot.svg(), f"{_heading(info)} over the mixtures", alt, caption, _legend(runs))


def _heading(info: FigureInfo) -> str:
    return info.label[:1].upper() + info.label[1:]


def _by_difficulty(runs: Sequence[Run], name: str, info: FigureInfo) -> Figure:
    """Draws a figure against the input SNR if the mixtures of all runs are noisy, else against the input SI-SDR."""
    noisy = all(_is_noisy(run) and len(_mixtures(run, name, INPUT_SNR)[0]) for run in runs)
    level, of = (INPUT_SNR, "input SNR") if noisy else ("input_si_sdr", "mixture's SI-SDR")
    binned = []
    for run in runs:
        x, *ys = _mixtures(run, name, level)
        binned.append(binned_means(x, ys, min(N_BINS, max(1, len(x) // FEWEST))))
    unit = info.unit or info.label
    ends = [
        f"{run.name}: {number(own[0], 2, unit)} and {number(gain[0], 2, 'dB')} for the hardest mixtures, "
        f"{number(own[-1])} and {number(gain[-1], 2, 'dB')} for the easiest"
        for run, (_, gain, own) in zip(runs, binned, strict=True)
    ]
    alt = f"Two line charts over the {of}: mean SI-SDRi and mean {info.label}. {'; '.join(ends)}."
    plot = Plot(f"difficulty-{name}", f"{of} (dB)", "SI-SDRi (dB)", alt)
    _lines(plot, runs, [(x, gain) for x, gain, _ in binned], "dB")
    plot.below(info.title)
    _lines(plot, runs, [(x, own) for x, _, own in binned], unit)
    meant = "energy of the sources over the energy of the noise" if noisy else "SI-SDR before separation"
    caption = f"Means over the mixtures in up to {N_BINS} equally filled bins of their {meant}."
    title = f"SI-SDRi and {info.label} against the {of}"
    return Figure(plot.svg(), title, alt, caption, _legend(runs))


def _is_noisy(run: Run) -> bool:
    rows = finite(run)
    return INPUT_SNR in rows and bool(np.isfinite(rows[INPUT_SNR]).mean() > 0.5)


def _lines(plot: Plot, runs: Sequence[Run], curves: Sequence[tuple[np.ndarray, np.ndarray]], unit: str) -> None:
    for run, (x, y) in zip(runs, curves, strict=True):
        points = zip(x, y, strict=True)
        tips = [f"{run.name}, mixtures around {number(at, 2, 'dB')}: {number(value, 2, unit)}" for at, value in points]
        plot.line(x, y, run_key(run.index), tips)


class Point(NamedTuple):
    """An evaluation in the picture of computation."""

    cost: float
    gain: float
    text: str


def _points(run: Run, name: str) -> list[Point]:
    """The evaluations of the run and of its variants by cost; the run itself comes last among equals."""
    points = []
    for one in [*run.variants, *([run.evaluation] if run.evaluation else [])]:
        if one.of_another_model or name not in one.figures:
            continue
        cost, gain = (one.metrics.get(key, {}).get("mean", float("nan")) for key in (name, "si_sdr_i"))
        if np.isfinite(cost) and np.isfinite(gain):
            info = one.figures[name]
            label = f"{run.name}, {one.variant}" if one.variant else run.name
            text = f"{label}: {number(cost, 2, info.unit or info.label)}, {number(gain, 2, 'dB')}"
            points.append(Point(cost, gain, text))
    return sorted(points, key=lambda point: point.cost)


def _by_cost(runs: Sequence[Run], name: str, info: FigureInfo) -> Figure:
    drawn = [_points(run, name) for run in runs]
    texts = "; ".join(point.text for points in drawn for point in points)
    alt = f"Mean SI-SDRi against the mean {info.label} of a mixture. {texts}."
    plot = Plot(f"cost-{name}", f"{info.title} of a mixture, mean", "mean SI-SDRi (dB)", alt)
    for run, points in zip(runs, drawn, strict=True):
        x, y = [point.cost for point in points], [point.gain for point in points]
        draw = plot.line if len(points) > 1 else plot.scatter
        draw(x, y, run_key(run.index), [point.text for point in points])
    plot.axes.margins(0.15)  # few points: none of them on the edge
    caption = (
        f"Further left: less computation, if the {info.label} of the runs are of one size; further up: better. A line "
        "joins the variants of a run (evaluate --variant)."
    )
    return Figure(plot.svg(), "SI-SDRi against computation", alt, caption, _legend(runs))
