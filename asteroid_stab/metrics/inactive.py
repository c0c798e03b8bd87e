"""The metrics of a mixture of which some sources are inactive: silent throughout, because fewer speak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from asteroid_stab.metrics.measured import Measured, undefined
from asteroid_stab.metrics.names import STANDARD
from asteroid_stab.metrics.separation_metrics import assign, measure


def measure_active(
    mixture: np.ndarray,
    sources: np.ndarray,
    estimates: np.ndarray,
    sample_rate: int,
    metrics: Sequence[str] = STANDARD,
) -> Measured:
    """Returns the metrics of the active sources and of the estimates assigned to them.

    The assignment is :func:`~asteroid_stab.metrics.separation_metrics.assign`'s over all estimates, so that the number
    of estimates is known to it; how many are active is counted apart. A mixture that is its only source has no
    ``input_m`` and no improvement ``m_i``, since nothing is mixed.

    Args:
        mixture: mixture.
        sources: sources; inactive ones are zeros.
        estimates: estimates in any order.
        sample_rate: in Hz.
        metrics: metrics to measure.

    Shapes:
        mixture: [T]; sources and estimates: [J, T]. ``Measured.perm`` and ``sources`` are of all J sources, ``nan``
        for inactive ones.

    Raises:
        ValueError: as :func:`~asteroid_stab.metrics.separation_metrics.measure`.

    Example:
        >>> sources = np.eye(3, 500)
        >>> sources[1] = 0.0  # two of three speak
        >>> estimates = sources[[2, 0, 1]] + 1e-3 * (-1) ** np.arange(500)
        >>> measured = measure_active(sources.sum(0), sources, estimates, 8000, ["si_sdr"])
        >>> measured.perm, measured.sources["si_sdr"].round()
        (array([1, 2, 0]), array([33., nan, 33.]))
    """
    active = sources.any(axis=-1)
    perm = assign(sources, estimates)
    if not active.any():
        return replace(undefined(metrics, len(sources), "all sources are silent"), perm=perm, broken="")
    found = measure(mixture, sources[active], estimates[perm[active]], sample_rate, metrics)
    values, by_source = dict(found.values), {}
    for name, of_active in found.sources.items():
        by_source[name] = np.full(len(sources), np.nan)
        by_source[name][active] = of_active
    if active.sum() == 1 and np.array_equal(mixture, sources[active][0]):
        for name in values:
            if name.startswith("input_") or name.endswith("_i"):
                values[name] = np.nan
                if name in by_source:
                    by_source[name] = np.full(len(sources), np.nan)
    return replace(found, values=values, perm=perm, sources=by_source)
