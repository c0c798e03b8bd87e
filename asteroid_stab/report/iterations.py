"""What iterations an evaluated model made, of which mixtures, and what they gained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from asteroid_stab.report.distribution import N_BINS, finite
from asteroid_stab.report.palette import run_key
from asteroid_stab.report.parts import Figure, Key, Part, Section
from asteroid_stab.report.plot import Plot
from asteroid_stab.report.run_data import Run
from asteroid_stab.report.wording import number

FEWEST = 3  # mixtures in a bin: a mean of fewer says nothing


def iterations(runs: Sequence[Run]) -> Section | None:
    """Pictures of the iterations; nothing where no evaluated model has any."""
    counted = [run for run in runs if run.metric("n_iterations") is not None]
    parts: list[Part] = []
    binnable = [run for run in counted if len(_mixtures(run)[0])]
    if binnable:
        parts += [_histogram(binnable), _by_difficulty(binnable)]
    if sum(len(_points(run)) for run in counted) > 1:
        parts.append(_by_compute([run for run in counted if _points(run)]))
    intro = "An iteration is one pass of one block; a mixture that exits at a gate takes fewer than there may be."
    return Section("iterations", "Iterations", parts, intro) if parts else None


def binned_means(x: np.ndarray, ys: Sequence[np.ndarray], n_bins: int) -> list[np.ndarray]:
    """Means of x, and of each of ys, in each of the bins of x that hold equally many points.

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


def _mixtures(run: Run, level: str = "input_si_sdr") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input level, SI-SDRi and iterations of the mixtures that have all three."""
    rows = finite(run)
    rows = rows[np.isfinite(rows[level]) & np.isfinite(rows["n_iterations"])]
    return rows[level].to_numpy(), rows["si_sdr_i"].to_numpy(), rows["n_iterations"].to_numpy()


def _legend(runs: Sequence[Run]) -> list[Key]:
    return [run_key(run.index, run.name) for run in runs] if len(runs) > 1 else []


def _histogram(runs: Sequence[Run]) -> Figure:
    made = [_mixtures(run)[2] for run in runs]
    means = "; ".join(f"{run.name}: mean {number(own.mean())}" for run, own in zip(runs, made, strict=True))
    alt = f"Histogram of the iterations of the mixtures. {means}."
    plot = Plot("iterations-histogram", "iterations", "mixtures (%)", alt)
    edges = np.arange(-0.5, max(own.max() for own in made) + 1)  # a bin for each whole number
    for run, own in zip(runs, made, strict=True):
        plot.steps(100 * np.histogram(own, edges)[0] / len(own), edges, run_key(run.index))
        plot.upright(float(own.mean()), run_key(run.index))
    plot.whole_numbers()
    caption = "Share of the mixtures that took as many; the dotted upright is the mean."
    return Figure(plot.svg(), "Iterations over the mixtures", alt, caption, _legend(runs))


def _by_difficulty(runs: Sequence[Run]) -> Figure:
    """Against the noise where all runs' mixtures have some, as the paper's figure 5, else against the SI-SDR."""
    noisy = all(_is_noisy(run) for run in runs)
    level, of = ("input_snr", "input SNR") if noisy else ("input_si_sdr", "mixture's SI-SDR")
    binned = []
    for run in runs:
        x, *ys = _mixtures(run, level)
        binned.append(binned_means(x, ys, min(N_BINS, max(1, len(x) // FEWEST))))
    told = [
        f"{run.name}: {number(made[0])} iterations and {number(gain[0], 2, 'dB')} for the hardest mixtures, "
        f"{number(made[-1])} and {number(gain[-1], 2, 'dB')} for the easiest"
        for run, (_, gain, made) in zip(runs, binned, strict=True)
    ]
    alt = f"Two line charts over the {of}: mean SI-SDRi and mean iterations. {'; '.join(told)}."
    plot = Plot("iterations-difficulty", f"{of} (dB)", "SI-SDRi (dB)", alt)
    _lines(plot, runs, [(x, gain) for x, gain, _ in binned], "dB")
    plot.below("iterations")
    _lines(plot, runs, [(x, made) for x, _, made in binned], "iterations")
    meant = "the energy of the sources over that of the noise" if noisy else "their SI-SDR before separation"
    caption = f"Means over the mixtures in up to {N_BINS} equally filled bins of {meant}."
    title = f"SI-SDRi and iterations against the {of}"
    return Figure(plot.svg(), title, alt, caption, _legend(runs))


def _is_noisy(run: Run) -> bool:
    rows = finite(run)
    return "input_snr" in rows and bool(np.isfinite(rows["input_snr"]).mean() > 0.5)


def _lines(plot: Plot, runs: Sequence[Run], curves: Sequence[tuple[np.ndarray, np.ndarray]], unit: str) -> None:
    for run, (x, y) in zip(runs, curves, strict=True):
        points = zip(x, y, strict=True)
        tips = [f"{run.name}, mixtures around {number(at, 2, 'dB')}: {number(value, 2, unit)}" for at, value in points]
        plot.line(x, y, run_key(run.index), tips)


class Point(NamedTuple):
    """An evaluation in the picture of compute."""

    sub_blocks: float
    gain: float
    text: str


def _points(run: Run) -> list[Point]:
    """The run's evaluations of its models, by what they computed; that of the whole model is last among equals."""
    points = []
    for one in [*run.variants, *([run.evaluation] if run.evaluation else [])]:
        if one.of_another_model:
            continue
        gain = one.metrics.get("si_sdr_i", {}).get("mean", float("nan"))
        if one.sub_blocks is not None and np.isfinite(gain):
            name = f"{run.name}, {one.variant}" if one.variant else run.name
            text = f"{name}: {number(one.sub_blocks)} sub-blocks, {number(gain, 2, 'dB')}"
            points.append(Point(one.sub_blocks, gain, text))
    return sorted(points, key=lambda point: point.sub_blocks)


def _by_compute(runs: Sequence[Run]) -> Figure:
    made = [_points(run) for run in runs]
    told = "; ".join(point.text for points in made for point in points)
    alt = f"Mean SI-SDRi against the mean number of sub-blocks applied to a mixture. {told}."
    plot = Plot("iterations-compute", "sub-blocks applied to a mixture, mean", "mean SI-SDRi (dB)", alt)
    for run, points in zip(runs, made, strict=True):
        x, y = [point.sub_blocks for point in points], [point.gain for point in points]
        draw = plot.line if len(points) > 1 else plot.scatter
        draw(x, y, run_key(run.index), [point.text for point in points])
    plot.axes.margins(0.15)  # few points: none of them on the edge
    caption = (
        "Further left: less computed, where sub-blocks are of one size; further up: better. A line joins what a "
        "run gives after other numbers of iterations or stages (evaluate --max-iterations N, --stage N)."
    )
    return Figure(plot.svg(), "SI-SDRi against compute", alt, caption, _legend(runs))
