"""Rows of a study beside a baseline: paired differences over seeds and mixtures, with a verdict in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from asteroid_stab.errors import StabError, nearest
from asteroid_stab.metrics.names import column_info
from asteroid_stab.metrics.paired import LEVEL, Difference, paired_difference, verdict
from asteroid_stab.run.study_items import measured, task

if TYPE_CHECKING:
    from asteroid_stab.report.run_data import Run

METRIC = "si_sdr_i"
Scores = dict[str, np.ndarray]  # [N] of every seed
Kind = tuple[int | None, tuple[str, ...]]
"""The number of sources, and the mixtures after the kind of their references: rows must share all to be compared."""


def differences(rows: Mapping[str, Sequence[Run]], baseline: str | None = None) -> list[tuple[str, str, Difference]]:
    """Returns the rows that can be compared with a baseline, with its name and the difference.

    Runs are paired by their seed, mixtures by their name; a mixture on which a score is undefined is left out.

    Args:
        rows: the runs of each row, evaluated.
        baseline: the row that the others are compared with. By default the first row; rows on other mixtures, or with
            another number of sources, are compared with the first of their kind.

    Raises:
        StabError: there is no such row, or it has no evaluation that others can be compared with.
    """
    if baseline is not None and baseline not in rows:
        raise StabError(f"the study has no row {baseline!r}{nearest(baseline, rows)}")
    kinds: dict[Kind, dict[str, Scores]] = {}
    for row, runs in rows.items():
        for kind, scores in _by_kind(runs).items():
            kinds.setdefault(kind, {})[row] = scores
    if baseline is not None and not any(baseline in alike for alike in kinds.values()):
        raise StabError(f"no run of row {baseline!r} was evaluated")
    found = []
    for alike in kinds.values():
        if baseline in (None, *alike):
            first = baseline or next(iter(alike))
            for row, scores in alike.items():
                if row != first and (difference := _difference(scores, alike[first])) is not None:
                    found.append((row, first, difference))
    return found


def _by_kind(runs: Sequence[Run]) -> dict[Kind, Scores]:
    """The scores of a row's runs by seed, apart for different mixtures."""
    kinds: dict[Kind, Scores] = {}
    for run in runs:
        if measured(run) and run.evaluation is not None:
            table = run.evaluation.utterances
            kind = task(run)[0], (run.evaluation.target, *table["name"])
            kinds.setdefault(kind, {})[run.path.name] = table[METRIC].to_numpy(dtype=np.float64)
    return kinds


def _difference(scores: Scores, of_baseline: Scores) -> Difference | None:
    """The difference over the seeds and the mixtures that both have; None where there are none."""
    seeds = [seed for seed in scores if seed in of_baseline]
    if not seeds:
        return None
    found = np.stack([scores[seed] - of_baseline[seed] for seed in seeds])
    found = found[:, np.isfinite(found).all(0)]
    return paired_difference(found) if found.size else None


def difference_table(found: Sequence[tuple[str, str, Difference]], split: str) -> list[list[str]]:
    """The cells of the table of differences, head first."""
    info = column_info(METRIC)
    head = ["row", "compared with", "seeds", "mixtures", f"difference of {split} {info.label}, {info.unit}"]
    lines = [[*head, f"{LEVEL:.0%} interval over seeds and mixtures"]]
    for row, first, one in found:
        mean = f"{one.mean:+.{info.digits}f}"
        numbers = [str(one.n_seeds), str(one.n_mixtures), mean]
        lines.append([row, first, *numbers, verdict(one, info.unit, info.digits)])
    return lines
