"""``metrics.csv`` of a training that has several parts, each of which begins its search for the best model again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

PART = "train/stage"
"""The column, also logged, that numbers the parts of a training; a training of one part has none."""


def last_part(metrics: pd.DataFrame) -> pd.DataFrame:
    """The epochs of ``metrics.csv`` whose models compete for ``best_model.pth``: the last part of the training.

    Example:
        >>> import pandas as pd
        >>> last_part(pd.DataFrame({"epoch": [0, 1, 2], PART: [1, 2, 2]}))["epoch"].tolist()
        [1, 2]
        >>> last_part(pd.DataFrame({"epoch": [0, 1]}))["epoch"].tolist()
        [0, 1]
    """
    return metrics[metrics[PART] == metrics[PART].max()] if PART in metrics else metrics
