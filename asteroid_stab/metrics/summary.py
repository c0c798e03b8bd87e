"""Mean, standard deviation and percentiles of metrics over a test set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asteroid_stab.metrics.names import NUMBERS, PERCENTILES


def summarise(values: Sequence[float]) -> dict[str, float | int | None]:
    """``n``, ``mean``, ``std`` and ``p1`` to ``p99`` of the defined values; None where no value is defined.

    Args:
        values: one for each mixture; ``nan`` where the metric is undefined. These are left out, and ``n`` is the number
            of the others.

    Example:
        >>> summary = summarise([1.0, 2.0, float("nan"), 6.0])
        >>> summary["n"], summary["mean"], round(summary["std"], 3), summary["p50"]
        (3, 3.0, 2.16, 2.0)
    """
    defined = np.asarray(values, dtype=np.float64)
    defined = defined[~np.isnan(defined)]
    if not len(defined):
        return {"n": 0, **dict.fromkeys(NUMBERS)}
    numbers = [defined.mean(), defined.std(), *np.percentile(defined, PERCENTILES)]
    return {"n": len(defined), **{name: float(x) for name, x in zip(NUMBERS, numbers, strict=True)}}
