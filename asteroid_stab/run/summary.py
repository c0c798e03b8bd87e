"""``summary.json`` of an evaluation, also of one that an earlier version wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def current(summary: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A summary in today's keys.

    Earlier versions wrote figures under ``compute`` and gave a variant keys of its own; they knew one kind of model
    with figures, whose module reads them.

    Args:
        summary: what ``summary.json`` holds.
        folder: the evaluation's folder; a variant's has another name than its split.
    """
    if "variant" not in summary and ("compute" in summary or folder.name != summary.get("split", folder.name)):
        from asteroid_stab.models.refiner_figures import upgrade_summary  # late: the models' imports take seconds

        return upgrade_summary(summary)
    return summary
