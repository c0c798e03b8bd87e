"""``summary.json`` of an evaluation, also of one that an earlier version wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asteroid_stab.metrics.names import columns

_CAP = 99.99  # dB; no measured SIR of all mixtures is as high


def current(summary: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A summary in today's keys.

    Earlier versions wrote figures under ``compute`` and gave a variant keys of its own; they knew one kind of model
    with figures, whose module reads them. They had the SIR of a single source, the cap of 100 dB for every mixture.

    Args:
        summary: what ``summary.json`` holds.
        folder: the evaluation's folder; a variant's has another name than its split.
    """
    metrics = summary.get("metrics", {})
    if metrics.get("sir", {}).get("p1") and metrics["sir"]["p1"] > _CAP and metrics["sir"]["p99"] > _CAP:
        summary = {
            **summary,
            "metrics": {name: value for name, value in metrics.items() if name not in columns(["sir"])},
        }
    if "variant" not in summary and ("compute" in summary or folder.name != summary.get("split", folder.name)):
        from asteroid_stab.models.refiner_figures import upgrade_summary  # late: the models' imports take seconds

        return upgrade_summary(summary)
    return summary
