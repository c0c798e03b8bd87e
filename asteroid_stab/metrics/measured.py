"""The metrics of one mixture, as a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from asteroid_stab.metrics.names import columns


@dataclass(frozen=True)
class Measured:
    """The metrics of one mixture, from :func:`~asteroid_stab.metrics.separation_metrics.measure`.

    Attributes:
        values: ``input_m`` (the mixture against the sources), ``m`` (the estimates) and ``m_i`` = m - input_m
            for every metric m, averaged over the sources; ``nan`` where the metric failed.
        perm: [J]; ``perm[j]`` is the index of the estimate given to source j.
        failures: why a metric, or a word error rate, is undefined, by its name.
        sources: ``input_si_sdr``, ``si_sdr`` and ``si_sdr_i`` of every source, [J] each; empty where undefined.
        fallback: why pb_bss_eval computed the SDR, SIR and SAR; empty where it did not.
        broken: why the mixture could not be measured at all, through a fault of a file or of a program; empty where it
            was, even if signals have no metrics.
    """

    values: dict[str, float]
    perm: np.ndarray
    failures: dict[str, str] = field(default_factory=dict)
    sources: dict[str, np.ndarray] = field(default_factory=dict)
    fallback: str = ""
    broken: str = ""


def undefined(metrics: Sequence[str], n_src: int, reason: str) -> Measured:
    """Returns the result of a mixture that could not be measured.

    Args:
        metrics: all of which are undefined.
        n_src: sources in the mixture.
        reason: why.
    """
    values = dict.fromkeys(columns(metrics), np.nan)
    return Measured(values, np.arange(n_src), dict.fromkeys(metrics, reason), broken=reason)
