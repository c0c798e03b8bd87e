"""The names of metrics that ``docs/metrics.md`` explains."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def documented():
    """The names in the first column of the tables."""
    return set(re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))


def undocumented(names):
    """Which of some names have no line; ``train/loss_layer3`` is explained as ``train/loss_layerN``."""
    return {name for name in names if not {name, re.sub(r"(?<=layer)\d+$", "N", name)} & documented()}
