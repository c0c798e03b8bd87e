"""Evaluations that the numbers of a study are made of, and whether they are of the same mixtures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from asteroid_stab.errors import some
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.resolve import corpus_value
from asteroid_stab.run.stored import parse_config
from asteroid_stab.run.upgrade import upgrade_config

if TYPE_CHECKING:
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
    except (KeyError, TypeError):  # a folder without the data's part, or with another kind of thing there
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
    places: dict[tuple[str, ...], list[str]] = {}  # rows by mixtures, and the kind of their references
    for row, runs in rows.items():
        counted = [("/".join(run.path.parts[-2:]), run.evaluation) for run in runs if measured(run)]
        found = {name: (one.target, *one.utterances["name"]) for name, one in counted if one is not None}
        parts |= {one.n_mixtures for _, one in counted if one is not None and one.is_part}
        if len(set(found.values())) > 1:
            unlike.add(row)
            seeds = some([f"{name} on {_place(names)}" for name, names in found.items()])
            lines.append(
                f"{row} has no mean: its runs were evaluated on different mixtures ({seeds}); evaluate them on the "
                "same ones, with --overwrite"
            )
        elif found:
            places.setdefault(next(iter(found.values())), []).append(row)
    if len(places) > 1:
        groups = "; ".join(f"{', '.join(names)} on {_place(mixtures)}" for mixtures, names in places.items())
        lines.append(f"these rows cannot be compared, they were evaluated on different mixtures: {groups}")
    lines += [f"runs were evaluated on {part} mixtures alone (evaluate --limit)" for part in sorted(parts)]
    return unlike, ["", *(f"note: {line}" for line in lines)] if lines else []


def _place(found: tuple[str, ...]) -> str:
    """Number of mixtures, and the kind of their references where there are several kinds."""
    target, *names = found
    return f"{len(names)} against {target} references" if target else str(len(names))
