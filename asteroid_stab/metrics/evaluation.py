"""Metrics of a model on whole mixtures: separated here, measured in other processes, written as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from asteroid_stab.data.corpus import Corpus
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.errors import StabError
from asteroid_stab.metrics.counting import ACTIVE_DB, active_estimates
from asteroid_stab.metrics.figures import figures_of
from asteroid_stab.metrics.input_snr import input_snr
from asteroid_stab.metrics.journal import Journal
from asteroid_stab.metrics.names import COUNTS, INPUT_SNR, FigureInfo, columns
from asteroid_stab.metrics.pool import Item, MetricPool
from asteroid_stab.metrics.separated import separated
from asteroid_stab.metrics.separation_metrics import Measured, undefined
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
        failures: for each metric the names of the mixtures in which it is undefined, and why.
        fallbacks: names of the mixtures whose SDR, SIR and SAR pb_bss_eval computed, and why.
        broken: names of the mixtures that could not be read, separated or measured, and why; they are rows without
            values.
        figures: the figures that the model declares.
    """

    metrics: tuple[str, ...]
    rows: list[dict[str, Any]] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    fallbacks: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    figures: dict[str, FigureInfo] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """The columns of the metrics, of the noise where there is any, and of the figures, in this order."""
        noisy = any(np.isfinite(row.get(INPUT_SNR, np.nan)) for row in self.rows)
        counts = COUNTS if self.rows and COUNTS[0] in self.rows[0] else ()
        return [*columns(self.metrics), *([INPUT_SNR] if noisy else []), *counts, *self.figures]

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


def check_model(model: nn.Module, data: MixtureDataset | Corpus) -> None:
    """Checks that ``model`` works at the data's sample rate; of a corpus before it makes any file.

    Raises:
        StabError: it works at another.
    """
    rate = getattr(model, "sample_rate", None)
    if rate is not None and int(rate) != data.sample_rate:
        raise StabError(f"the model works at {int(rate)} Hz, the data are sampled at {data.sample_rate} Hz")


def evaluate(
    model: nn.Module,
    dataset: MixtureDataset,
    pool: MetricPool,
    limit: int | None = None,
    advance: Callable[[], object] = lambda: None,
    journal: Journal | None = None,
    active_db: float = ACTIVE_DB,
    batch_size: int = 1,
) -> Evaluation:
    """Separates the whole mixtures of ``dataset`` and measures the estimates.

    The model runs in this process, on its own device, while the processes of the pool measure the mixtures that are
    already separated.

    Args:
        model: maps [B, T] to [B, J, T]; it is put in evaluation mode. One that is a
            :class:`~asteroid_stab.metrics.figures.ModelWithFigures` has its figures in the rows.
        dataset: whole mixtures.
        pool: the processes that measure.
        limit: how many mixtures to take, from the first; None takes all.
        advance: called after every mixture.
        journal: keeps every mixture when it is measured; the ones that it has already are not measured again.
        active_db: level of an estimate relative to the mixture, in dB, above which it counts as a source, where the
            number of sources varies (``dataset.n_active``).
        batch_size: mixtures of equal length that the model separates together at most.

    A mixture that cannot be read, separated or measured is one of the ``broken`` ones of the result, without values;
    the others are measured.

    Raises:
        StabError: the model works at another sample rate or separates another number of sources, no mixture has a
            SI-SDR, or the journal cannot be written.
        ValueError: a figure of the model has the name of another column.
    """
    check_model(model, dataset)
    model.eval()
    varies = dataset.n_active is not None
    n_items = len(dataset) if limit is None else min(limit, len(dataset))
    evaluation = Evaluation(pool.metrics, failures={metric: {} for metric in pool.metrics}, figures=figures_of(model))
    taken = {*ITEM_COLUMNS, *columns(pool.metrics), INPUT_SNR, *COUNTS} & set(evaluation.figures)
    if taken:
        raise ValueError(f"a model's figure must have a name of its own, got the column {sorted(taken)[0]!r}")

    of_mixture: dict[int, dict[str, float]] = dict(journal.own) if journal else {}  # input SNR and figures
    measured: dict[int, Measured] = dict(journal.measured) if journal else {}
    todo = [i for i in range(n_items) if i not in measured]
    for _ in range(n_items - len(todo)):
        advance()

    def items() -> Iterator[Item]:
        for i, fault, mixture, sources, estimates, figures in separated(model, dataset, todo, batch_size):
            if fault:
                measured[i] = undefined(pool.metrics, dataset.n_src, fault)
                advance()
                continue
            of_mixture[i] = {INPUT_SNR: input_snr(mixture.numpy(), sources.numpy()), **figures}
            if varies:
                of_mixture[i][COUNTS[1]] = int(active_estimates(estimates, mixture, active_db).sum())
            yield Item(i, mixture.numpy(), sources.numpy(), estimates.numpy(), varies)

    for i, found in pool.run(items()):
        measured[i] = found
        if journal is not None:
            journal.add(i, found, of_mixture[i])
        advance()
    absent = dict.fromkeys([INPUT_SNR, *evaluation.figures, *(COUNTS[1:] if varies else ())], np.nan)
    for i in range(n_items):
        name, found = dataset.names[i], measured[i]
        row = {"id": i, "name": name, "n_samples": dataset.lengths[i], **found.values, **of_mixture.get(i, absent)}
        if dataset.n_active is not None:
            row[COUNTS[0]] = int(dataset.n_active[i])
        evaluation.rows.append(row)
        if dataset.labels is not None:
            for source, label in enumerate(dataset.labels[i]):
                if label < 0:
                    continue  # this source has no class
                ratios = {key: float(found.sources[key][source]) if found.sources else np.nan for key in SOURCE_COLUMNS}
                evaluation.sources.append({"id": i, "source": source, "class": dataset.classes[label], **ratios})
        for metric, reason in found.failures.items():
            evaluation.failures[metric][name] = reason
        if found.fallback:
            evaluation.fallbacks[name] = found.fallback
        if found.broken:
            evaluation.broken[name] = found.broken
    unmeasured = evaluation.failures.get("si_sdr", {})
    if len(unmeasured) == n_items:
        raise StabError(f"none of {n_items} mixtures has a SI-SDR: {next(iter(unmeasured.values()), 'no mixtures')}")
    return evaluation


def pick_examples(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows with the highest, the median and the lowest SI-SDRi: ``best``, ``median``, ``worst``.

    Example:
        >>> rows = [{"id": i, "si_sdr_i": x} for i, x in enumerate([3.0, 9.0, float("nan"), 5.0, 1.0])]
        >>> {kind: row["id"] for kind, row in pick_examples(rows).items()}
        {'best': 1, 'median': 0, 'worst': 4}
    """
    ranked = sorted((row for row in rows if not np.isnan(row["si_sdr_i"])), key=lambda row: -row["si_sdr_i"])
    if not ranked:
        return {}
    return {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]}
