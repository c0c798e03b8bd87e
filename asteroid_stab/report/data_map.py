"""The data map of each run: mean against spread of every training item, coloured by the item's switches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import spearmanr

from asteroid_stab.report.distribution import MAX_TIPS
from asteroid_stab.report.files import read_table
from asteroid_stab.report.palette import ordered_key
from asteroid_stab.report.parts import Figure, Part, Section, Table
from asteroid_stab.report.plot import Plot
from asteroid_stab.report.run_data import Run
from asteroid_stab.report.wording import count, number, percent
from asteroid_stab.run.layout import RunLayout

MOST_POINTS = 4000  # of a picture; with more the page would be slow to show
GROUPS = (0, 1, 2, 4, 8)  # least number of switches of each group


def data_map(runs: Sequence[Run]) -> Section | None:
    """A picture and a table for each run with a map; ``None`` if no run has one."""
    parts: list[Part] = []
    for run in runs:
        if run.data_map is not None and (run.data_map[:, 0] > 0).any():
            parts += _parts(run)
    intro = (
        "Each point is a training item: mean and spread of its metric over the visits so far, on the crops that were "
        "trained on. High and on the left: easy; low and on the left: hard, or noise; on the right: ambiguous."
    )
    return Section("data-map", "Data map", parts, intro) if parts else None


def _parts(run: Run) -> Iterator[Part]:
    assert run.data_map is not None
    ids = np.flatnonzero(run.data_map[:, 0] > 0)
    _, mean, spread, switches = run.data_map[ids].T
    groups = [(label, np.flatnonzero(own)) for label, own in _groups(switches) if own.any()]
    rows = [
        [
            label,
            f"{len(of):,}",
            percent(len(of) / len(ids)),
            number(float(mean[of].mean())),
            number(float(spread[of].mean())),
        ]
        for label, of in groups
    ]
    drawn = np.unique(np.linspace(0, len(ids) - 1, min(len(ids), MOST_POINTS)).round().astype(int))
    names = _names(run, ids)
    shown = f"{len(drawn):,} of {count(len(ids), 'item')}" if len(drawn) < len(ids) else count(len(ids), "item")
    ranks = [rank_correlation(switches, values) for values in (spread, mean)]
    correlated = f"Rank correlation of switches with spread: {number(ranks[0])}, with mean: {number(ranks[1])}."
    words = "; ".join(f"{label}: {share}, mean {at} dB, spread {wide} dB" for label, _, share, at, wide in rows)
    alt = f"Scatter plot of the mean metric of {shown} against its spread, by number of switches. {words}."
    plot = Plot(f"data-map-{run.index}", "spread of the metric (dB)", "mean of the metric (dB)", alt)
    keys = []
    for place, (label, of) in enumerate(groups):
        key = ordered_key(place, len(groups), label)
        keys.append(key)
        points = np.intersect1d(of, drawn)
        tips = [
            f"{names[i]}: mean {number(mean[i], 2, 'dB')}, spread {number(spread[i], 2, 'dB')}, "
            f"switches: {int(switches[i])}"
            for i in points
        ]
        if len(points):
            plot.scatter(spread[points], mean[points], key, tips if len(drawn) <= MAX_TIPS else ())
    caption = f"{shown[:1].upper()}{shown[1:]}, coloured by number of switches. {correlated}"
    yield Figure(plot.svg(), f"Data map: {run.name}", alt, caption, keys)
    head = ["switches", "items", "share", "mean of the means (dB)", "mean spread (dB)"]
    yield Table(f"Items by number of switches: {run.name}", head, rows)


def _groups(switches: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    for least, end in zip(GROUPS, (*GROUPS[1:], None), strict=True):
        if end is None:
            yield f"{least} and more", switches >= least
        else:
            label = str(least) if end == least + 1 else f"{least} to {end - 1}"
            yield label, (switches >= least) & (switches < end)


def _names(run: Run, ids: np.ndarray) -> Sequence[str]:
    """Names of items where the run has a list of them that is short enough to be shown, else their ids."""
    assert run.data_map is not None
    table = read_table(RunLayout(run.path).items, ("id", "name")) if len(run.data_map) <= MAX_TIPS else None
    if table is None or len(table) != len(run.data_map):
        return [f"item {i}" for i in ids]
    return [table["name"][i] for i in ids]


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation; nan where one of the two does not vary.

    Example:
        >>> round(rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0])), 6)
        1.0
        >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.ones(3))
        nan
    """
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(spearmanr(x, y).statistic)
