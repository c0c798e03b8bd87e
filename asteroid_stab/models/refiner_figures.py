"""The figures that a refining network reports of each item, and summaries of versions that knew no other figures."""

from __future__ import annotations

from typing import Any

from asteroid_stab.metrics.names import FigureInfo


def refiner_figures(most: int, n_sub_blocks: int) -> dict[str, FigureInfo]:
    """Returns how the figures of a refining network are shown.

    Args:
        most: iterations that an item may take.
        n_sub_blocks: sub-blocks that an iteration applies.
    """
    iterations = FigureInfo(
        "iterations", meaning="passes of a block; an item that exits at a gate takes fewer", most=most
    )
    sub_blocks = FigureInfo(
        "sub-blocks",
        meaning="applied in all iterations of an item",
        most=most * n_sub_blocks,
        is_cost=True,
    )
    return {"n_iterations": iterations, "n_sub_blocks": sub_blocks}


def upgrade_summary(summary: dict[str, Any]) -> dict[str, Any]:
    """The ``summary.json`` of a version with ``stage``, ``max_iterations`` and ``compute``, in today's keys.

    Example:
        >>> old = {"stage": 1, "max_iterations": 2, "metrics": {"n_iterations": {"n": 3, "mean": 1.5, "std": None}}}
        >>> new = upgrade_summary({**old, "compute": {"most": 2, "share": 0.75, "sub_blocks": 6.0}})
        >>> new["variant"], new["metrics"]["n_sub_blocks"]
        ('stage1,iterations2', {'n': 3, 'mean': 6.0, 'std': None})
        >>> new["figures"]["n_sub_blocks"]["most"]
        8
    """
    new = {key: value for key, value in summary.items() if key not in ("stage", "max_iterations", "compute")}
    words = {"stage": summary.get("stage"), "iterations": summary.get("max_iterations")}
    new["variant"] = ",".join(f"{word}{n}" for word, n in words.items() if n is not None) or None
    if "compute" in summary:
        compute, numbers = summary["compute"], summary["metrics"]["n_iterations"]
        used = compute["share"] * compute["most"]
        each = round(compute["sub_blocks"] / used) if used else 1  # sub-blocks of an iteration
        applied = {key: value if key == "n" or value is None else each * value for key, value in numbers.items()}
        new["metrics"] = {**summary["metrics"], "n_sub_blocks": applied}
        new["figures"] = {name: dict(vars(info)) for name, info in refiner_figures(compute["most"], each).items()}
    return new
