"""The measured mixtures of an evaluation: rows, what is undefined in them, and their summary."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from asteroid_stab.metrics.names import COUNTS, INPUT_SNR, FigureInfo, columns
from asteroid_stab.metrics.summary import summarise

ITEM_COLUMNS = ("id", "name", "n_samples")
SOURCE_COLUMNS = tuple(columns(["si_sdr"]))


@dataclass
class Evaluation:
    """The metrics of a data set's first mixtures.

    Attributes:
        metrics: the measured metrics.
        rows: a row for each mixture, in the order of the ids: ``id``, ``name``, ``n_samples``, the columns of every
            metric averaged over the sources, ``input_snr``, and the figures that the model reports; ``nan`` where
            undefined.
        sources: a row for each source that has a class: ``id``, ``source``, ``class`` and its ``input_si_sdr``,
            ``si_sdr`` and ``si_sdr_i``.
        failures: for each metric, and each word error rate where words are counted, the names of the mixtures in which
            it is undefined, and why.
        fallbacks: names of the mixtures whose SDR, SIR and SAR pb_bss_eval computed, and why.
        broken: names of the mixtures that could not be read, separated or measured, and why; they are rows without
            values.
        figures: the figures that the model declares.
        has_mixtures: whether the mixtures are known; without them there is no input to compare the estimates with.
    """

    metrics: tuple[str, ...]
    rows: list[dict[str, Any]] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    fallbacks: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    figures: dict[str, FigureInfo] = field(default_factory=dict)
    has_mixtures: bool = True

    @property
    def columns(self) -> list[str]:
        """The columns of the metrics, of the noise where there is any, and of the figures, in this order."""
        noisy = any(np.isfinite(row.get(INPUT_SNR, np.nan)) for row in self.rows)
        counts = COUNTS if self.rows and COUNTS[0] in self.rows[0] else ()
        measured = columns(self.metrics) if self.has_mixtures else self.metrics
        return [*measured, *([INPUT_SNR] if noisy and self.has_mixtures else []), *counts, *self.figures]

    def summary(self) -> dict[str, dict[str, float | int | None]]:
        """Mean, standard deviation and percentiles of every column."""
        return {name: summarise([row[name] for row in self.rows]) for name in self.columns}

    def counting(self) -> dict[str, Any]:
        """Share of the mixtures with as many active estimates as sources, and how many of each number have how many.

        Empty where the number of sources does not vary; mixtures that could not be measured do not count.
        """
        pairs = [tuple(row.get(name, np.nan) for name in COUNTS) for row in self.rows]
        pairs = [(int(true), int(found)) for true, found in pairs if np.isfinite([true, found]).all()]
        if not pairs:
            return {}
        table: dict[str, dict[str, int]] = {}
        for true, found in sorted(pairs):
            of_true = table.setdefault(str(true), {})
            of_true[str(found)] = of_true.get(str(found), 0) + 1
        return {"accuracy": sum(true == found for true, found in pairs) / len(pairs), "table": table}

    def by_number(self) -> dict[str, dict[str, Any]]:
        """Summary of SI-SDR and its improvement, by the number of active sources; empty where it does not vary."""
        numbers = sorted({row[COUNTS[0]] for row in self.rows if COUNTS[0] in row})
        of = {number: [row for row in self.rows if row[COUNTS[0]] == number] for number in numbers}
        names = ("si_sdr", "si_sdr_i")
        return {str(n): {name: summarise([row[name] for row in rows]) for name in names} for n, rows in of.items()}

    def classes(self) -> dict[str, dict[str, float | int | None]]:
        """Mean, standard deviation and percentiles of the sources' SI-SDRi, by class."""
        names = sorted({row["class"] for row in self.sources})
        return {name: summarise([row["si_sdr_i"] for row in self.sources if row["class"] == name]) for name in names}
