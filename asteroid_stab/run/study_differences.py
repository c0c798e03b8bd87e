"""Rows of a study beside a baseline: paired differences over seeds and mixtures, with a verdict in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from asteroid_stab.errors import StabError, nearest
from asteroid_stab.metrics.names import column_info
from asteroid_stab.metrics.paired import LEVEL, Difference, paired_difference, verdict
from asteroid_stab.run.study_items import measured, task

if TYPE_CHECKING:
    from asteroid_stab.report.evaluation_data import WrittenEvaluation
    from asteroid_stab.report.run_data import Run

METRIC = "si_sdr_i"
Scores = dict[str, np.ndarray]  # [N] of every seed


class Kind(NamedTuple):
    """Rows that can be compared: runs on the same mixtures, with the same number of sources.

    Attributes:
        n_src: the number of sources.
        evaluation: one on these mixtures.
        rows: the scores of each row's runs.
    """

    n_src: int | None
    evaluation: WrittenEvaluation
    rows: dict[str, Scores]


def differences(rows: Mapping[str, Sequence[Run]], baseline: str | None = None) -> list[tuple[str, str, Difference]]:
    """Returns the rows that can be compared with a baseline, with its name and the difference.

    Runs are paired by their seed, mixtures by their name and signals. A mixture on which a score is undefined is left
    out.

    Args:
        rows: the runs of each row, evaluated.
        baseline: the row that the others are compared with. By default the first row; rows on other mixtures, or with
            another number of sources, are compared with the first of their kind.

    Raises:
        StabError: there is no such row, or it has no evaluation that others can be compared with.
    """
    if baseline is not None and baseline not in rows:
        raise StabError(f"the study has no row {baseline!r}{nearest(baseline, rows)}")
    kinds = _kinds(rows)
    if baseline is not None and not any(baseline in kind.rows for kind in kinds):
        raise StabError(f"no run of row {baseline!r} was evaluated")
    found = []
    for _, _, alike in kinds:
        if baseline in (None, *alike):
            first = baseline or next(iter(alike))
            for row, scores in alike.items():
                if row != first and (difference := _difference(scores, alike[first])) is not None:
                    found.append((row, first, difference))
    return found


def beside_oracles(
    rows: Mapping[str, Sequence[Run]],
) -> tuple[list[WrittenEvaluation], list[tuple[str, str, Difference]]]:
    """Returns the beamformers that were measured on the rows' mixtures, and how much better the rows are.

    What a beamformer reaches does not depend on a training, so its evaluation in one run folder is compared with all
    runs on the same mixtures, also with those that hear fewer microphones.

    Args:
        rows: the runs of each row, evaluated.

    Returns:
        An evaluation for each beamformer, number of microphones and set of mixtures; row, beamformer and difference.
    """
    oracles: list[WrittenEvaluation] = []
    found = []
    there = [one for runs in rows.values() for run in runs for one in run.oracles]
    for kind in _kinds(rows):
        own: list[WrittenEvaluation] = []
        for one in there:
            if one.is_on_mixtures_of(kind.evaluation) and one.of not in [other.of for other in own]:
                own.append(one)
        oracles += own
        for one in own:
            reached = one.utterances[METRIC].to_numpy(dtype=np.float64)
            for row, scores in kind.rows.items():
                if (difference := _difference(scores, dict.fromkeys(scores, reached))) is not None:
                    found.append((row, one.of, difference))
    return oracles, found


def _kinds(rows: Mapping[str, Sequence[Run]]) -> list[Kind]:
    """The scores of all runs by row and seed, apart for different mixtures."""
    kinds: list[Kind] = []
    for row, runs in rows.items():
        for run in runs:
            if not measured(run) or run.evaluation is None:
                continue
            n_src, one = task(run)[0], run.evaluation
            kind = next(
                (kind for kind in kinds if kind.n_src == n_src and one.is_on_mixtures_of(kind.evaluation)), None
            )
            if kind is None:
                kinds.append(kind := Kind(n_src, one, {}))
            kind.rows.setdefault(row, {})[run.path.name] = one.utterances[METRIC].to_numpy(dtype=np.float64)
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
