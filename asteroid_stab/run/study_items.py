"""Evaluations that the numbers of a study are made of, and whether they are of the same mixtures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from asteroid_stab.errors import StabError, some
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.resolve import corpus_value
from asteroid_stab.run.stored import parse_config
from asteroid_stab.run.upgrade import upgrade_config

if TYPE_CHECKING:
    from asteroid_stab.report.evaluation_data import WrittenEvaluation
    from asteroid_stab.report.run_data import Run


def measured_on(split: str, corpus: str = "") -> str:
    """A split in words, of another corpus than the runs' own where one is named.

    Example:
        >>> measured_on("test"), measured_on("test", "wham")
        ('test', 'test of wham')
    """
    return f"{split} of {corpus}" if corpus else split


def task(run: Run) -> tuple[int | None, bool]:
    """Number of sources in a run's mixtures, and whether it trains on a pretext task, whose scores mean nothing."""
    config = upgrade_config(parse_config(run.config, str(RunLayout(run.path).config)))
    try:
        n_src = corpus_value(config["data"], "n_src")
    except (KeyError, TypeError, StabError):  # a folder without the data's part, or with another kind of thing there
        n_src = None
    return n_src, bool(config.get("pretext"))


def measured(run: Run) -> dict[str, float]:
    """The numbers of the SI-SDRi; none if the run went on after its evaluation, or trains on a pretext task."""
    if run.evaluation is None or run.evaluation.of_another_model or task(run)[1]:
        return {}
    return run.metric("si_sdr_i") or {}


def n_measured(run: Run) -> float:
    """Number of mixtures that the numbers of the SI-SDRi are over; nan if there are none."""
    if not measured(run) or run.evaluation is None:
        return float("nan")
    return float(run.evaluation.utterances["si_sdr_i"].notna().sum())


def unlike_rows(rows: Mapping[str, Sequence[Run]]) -> tuple[set[str], list[str]]:
    """Compares the mixtures on which the runs of a study were evaluated.

    Args:
        rows: the runs of each row.

    Returns:
        The rows whose seeds were evaluated on different mixtures, of which a mean would mean nothing; and the lines
        that say so, also of rows that differ from each other.
    """
    unlike, lines = set(), []
    parts: set[str] = set()
    places: list[tuple[WrittenEvaluation, list[str]]] = []  # rows by mixtures, as the first has them
    for row, runs in rows.items():
        counted = [("/".join(run.path.parts[-2:]), run.evaluation) for run in runs if measured(run)]
        found = {name: one for name, one in counted if one is not None}
        parts |= {one.n_mixtures for one in found.values() if one.is_part}
        first = next(iter(found.values()), None)
        if first is None:
            continue
        if not all(one.is_on_mixtures_of(first) for one in found.values()):
            unlike.add(row)
            seeds = some([f"{name} on {_place(one, first)}" for name, one in found.items()])
            lines.append(
                f"{row} has no mean: its runs were evaluated on different mixtures ({seeds}); evaluate them on the "
                "same ones, with --overwrite"
            )
            continue
        alike = next((names for one, names in places if one.is_on_mixtures_of(first)), None)
        if alike is None:
            places.append((first, alike := []))
        alike.append(row)
    if len(places) > 1:
        groups = "; ".join(f"{', '.join(names)} on {_place(one, places[0][0])}" for one, names in places)
        lines.append(f"these rows cannot be compared, they were evaluated on different mixtures: {groups}")
    lines += [f"runs were evaluated on {part} mixtures alone (evaluate --limit)" for part in sorted(parts)]
    return unlike, ["", *(f"note: {line}" for line in lines)] if lines else []


def _place(one: WrittenEvaluation, first: WrittenEvaluation) -> str:
    """Number of mixtures, the kind of their references where there are several, and whether only the signals differ."""
    place = f"{len(one.utterances)} against {one.target} references" if one.target else str(len(one.utterances))
    other = one.has_names_of(first) and not one.is_on_mixtures_of(first)
    return place + (" of the same names with other signals, as in another room or noise" if other else "")
