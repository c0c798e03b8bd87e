"""The tables of an evaluation: one of the mixtures, a summary, and one of the sources that have classes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from asteroid_stab.atomic import write_text
from asteroid_stab.metrics.evaluated import ITEM_COLUMNS, SOURCE_COLUMNS, Evaluation
from asteroid_stab.metrics.words import total
from asteroid_stab.run.layout import EvaluationLayout


def write_tables(evaluation: Evaluation, folder: Path, facts: dict[str, Any]) -> None:
    """Writes the table of the mixtures, the summary and, of sources with classes, the table of the sources.

    Args:
        evaluation: the measured mixtures.
        folder: where to write.
        facts: further entries of the summary: split, command, model, ...
    """
    place = EvaluationLayout(folder)
    _write_table(place.utterances, [*ITEM_COLUMNS, *evaluation.columns], evaluation.rows)
    if evaluation.sources:
        _write_table(place.sources, ["id", "source", "class", *SOURCE_COLUMNS], evaluation.sources)
    summary = summary_of(evaluation, facts)
    write_text(place.summary, json.dumps(summary, indent=2, allow_nan=False) + "\n")


def summary_of(evaluation: Evaluation, facts: dict[str, Any]) -> dict[str, Any]:
    """Returns the content of the summary.

    Args:
        evaluation: the measured mixtures.
        facts: its first entries.
    """
    counting = evaluation.counting()
    return {
        **facts,
        "n": len(evaluation.rows),
        "failures": {metric: list(names) for metric, names in evaluation.failures.items()},
        "failure_reasons": {metric: names for metric, names in evaluation.failures.items() if names},
        "reference_fallbacks": evaluation.fallbacks,
        "broken": evaluation.broken,
        "metrics": evaluation.summary(),
        "figures": {name: asdict(info) for name, info in evaluation.figures.items()},
        **({"classes": evaluation.classes()} if evaluation.sources else {}),
        **({"words": words} if (words := total(evaluation.rows)) else {}),
        **({"counting": counting, "by_n_active": evaluation.by_number()} if counting else {}),
    }


def _write_table(file: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in rows)
    write_text(file, text.getvalue())


def _cell(value: Any) -> Any:
    """The cell of a table: empty where undefined, six significant digits otherwise."""
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.6g}"
    return value
