"""Record of a study: which rows its folder holds, and in which order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from asteroid_stab.atomic import write_text
from asteroid_stab.errors import StabError
from asteroid_stab.run.layout import StudyLayout, study_runs
from asteroid_stab.run.study_rows import Row, filled


def read_order(study: StudyLayout) -> list[str]:
    """Returns the names of a study's rows in their order; none where no study has run in the folder.

    Raises:
        StabError: the record is damaged.
    """
    return [*read_record(study)]


def keep_record(rows: Sequence[Row], overrides: Sequence[str], study: StudyLayout) -> None:
    """Writes which rows the folder holds: these in their order, then others that ran there before.

    Raises:
        StabError: a row has runs of another recipe or other overrides, apart from those that a resumed run may change.
    """
    before = read_record(study)
    started = {run.root.parts[-2] for run in study_runs(study.root)}
    now = {row.name: [row.recipe, *_fixed(row, overrides)] for row in rows}
    for row in rows:
        was = before.get(row.name, now[row.name])
        if was != now[row.name] and row.name in started:
            raise StabError(
                f"{row.at}: {study.root} holds runs of another row {row.name!r}, {' '.join(was)!r}, and this one is "
                f"{' '.join(now[row.name])!r}: give it another name, or the study another folder"
            )
    write_record(study, {**now, **{k: v for k, v in before.items() if k not in now}})


def write_record(study: StudyLayout, rows: Mapping[str, list[str]]) -> None:
    """Writes the rows of a study, in their order: the recipe of each, and the overrides that stay."""
    write_text(study.record, json.dumps({"rows": dict(rows)}))


def _fixed(row: Row, overrides: Sequence[str]) -> list[str]:
    """The overrides of a row that no resumed run may change, as they are written."""
    from asteroid_stab.run.resume import may_change  # brings torch

    return [word for word in (*row.words, *overrides) if not may_change(filled(word, "out", 1))]


def read_record(study: StudyLayout) -> dict[str, list[str]]:
    """Returns the rows of a study in their order, each with its recipe and its overrides that stay.

    Raises:
        StabError: the record is damaged.
    """
    try:
        rows: Any = json.loads(study.record.read_text(encoding="utf-8"))["rows"]
        if all(isinstance(words, list) and all(isinstance(word, str) for word in words) for words in rows.values()):
            return rows
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise StabError(f"{str(study.record)!r} is no readable record of a study: remove it, and the next study writes it")
