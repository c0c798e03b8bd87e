import numpy as np
import pytest

from asteroid_stab.metrics.names import PERCENTILES
from asteroid_stab.metrics.summary import summarise


def test_against_numpy():
    values = np.random.default_rng(0).standard_normal(37)
    summary = summarise([*values, np.nan])
    assert summary["n"] == 37
    assert summary["mean"] == pytest.approx(values.mean())
    assert summary["std"] == pytest.approx(np.sqrt(((values - values.mean()) ** 2).mean()))
    for p in PERCENTILES:
        assert summary[f"p{p}"] == pytest.approx(np.percentile(values, p))
    assert list(summary) == ["n", "mean", "std", "p1", "p5", "p10", "p25", "p50", "p75", "p90", "p95", "p99"]


def test_nothing_defined():
    summary = summarise([np.nan, np.nan])
    assert summary.pop("n") == 0
    assert set(summary.values()) == {None}


def test_plain_types():
    assert {type(value) for value in summarise([1, 2]).values()} == {int, float}
