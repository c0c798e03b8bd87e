"""Metrics of a model on whole mixtures: separated here, measured in other processes, written as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from asteroid_stab.data.corpus import HIGHEST_RATE, Corpus
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.errors import StabError, cause
from asteroid_stab.metrics.counting import ACTIVE_DB, active_estimates
from asteroid_stab.metrics.evaluated import ITEM_COLUMNS, SOURCE_COLUMNS, Evaluation
from asteroid_stab.metrics.figures import figures_of
from asteroid_stab.metrics.input_snr import input_snr
from asteroid_stab.metrics.journal import Journal
from asteroid_stab.metrics.measured import Measured, undefined
from asteroid_stab.metrics.names import COUNTS, INPUT_SNR, FigureInfo, columns
from asteroid_stab.metrics.pool import Item, MetricPool
from asteroid_stab.metrics.separated import Separate, separate_whole, separated
from asteroid_stab.metrics.words import CPWER, FIGURES, WER, WordErrors
from asteroid_stab.microphones import check_takes, noise_for


def check_model(model: nn.Module, data: MixtureDataset | Corpus) -> None:
    """Checks that ``model`` works at the data's sample rate, and takes the microphones of a data set.

    Of a corpus, the rate can be checked before it makes any file.

    Raises:
        StabError: it works at another rate, or takes another number of microphones.
    """
    rate = getattr(model, "sample_rate", None)
    if rate is not None and int(rate) != data.sample_rate:
        raise StabError(f"the model works at {int(rate)} Hz, the data are sampled at {data.sample_rate} Hz")
    if isinstance(data, MixtureDataset):
        check_takes(model, data.n_mics)


def check_sources(model: nn.Module, corpus: Corpus) -> None:
    """Checks that ``model`` separates as many sources as the mixtures of a corpus have, before it makes any file.

    Raises:
        StabError: it separates another number, or none.
    """
    n_src = count_sources(model, corpus.sample_rate)
    if n_src != corpus.n_src:
        raise StabError(
            f"the model gives {n_src} sources, the data have mixtures of {corpus.n_src}: data.n_src={n_src} asks for "
            "others, of a corpus that has them"
        )


def count_sources(model: nn.Module, sample_rate: int) -> int:
    """Number of sources that a model separates, tried on a second of noise.

    Raises:
        StabError: it cannot separate it.
    """
    noise = noise_for(model, min(sample_rate, HIGHEST_RATE))
    try:
        return len(separate_whole(model.eval(), noise))
    except Exception as error:  # of any type: a model may be a user's own
        raise StabError(f"the model cannot separate a second of noise: {cause(error)}") from error


def evaluate(
    model: nn.Module,
    dataset: MixtureDataset,
    pool: MetricPool,
    limit: int | None = None,
    advance: Callable[[], object] = lambda: None,
    journal: Journal | None = None,
    active_db: float = ACTIVE_DB,
    batch_size: int = 1,
    words: WordErrors | None = None,
) -> Evaluation:
    """Separates the whole mixtures of ``dataset`` and measures the estimates.

    The model runs in this process, on its own device, while the processes of the pool measure the mixtures that are
    already separated.

    Args:
        model: maps [B, T], or [B, C, T] of several microphones, to [B, J, T]; it is put in evaluation mode. A
            :class:`~asteroid_stab.metrics.figures.ModelWithFigures` has its figures in the rows.
        dataset: whole mixtures.
        pool: the processes that measure.
        limit: how many mixtures to take, from the first; None takes all.
        advance: called after every mixture.
        journal: keeps every mixture when it is measured; the ones that it has already are not measured again.
        active_db: level of an estimate relative to the mixture, in dB, above which it counts as a source, where the
            number of sources varies (``dataset.n_active``).
        batch_size: mixtures of equal length that the model separates together at most.
        words: counts the word errors of the estimates.

    A mixture that cannot be read, separated or measured is one of the ``broken`` ones of the result, without values;
    the others are measured.

    Raises:
        StabError: the model works at another sample rate, takes another number of microphones or separates another
            number of sources, no mixture has a SI-SDR, or the journal cannot be written.
        ValueError: a figure of the model has the name of another column.
    """
    check_model(model, dataset)
    model.eval()
    separate = partial(separated, model, dataset, batch_size=batch_size)
    return measure_all(separate, figures_of(model), dataset, pool, limit, advance, journal, active_db, words)


def measure_all(
    separate: Separate,
    figures: Mapping[str, FigureInfo],
    dataset: MixtureDataset,
    pool: MetricPool,
    limit: int | None = None,
    advance: Callable[[], object] = lambda: None,
    journal: Journal | None = None,
    active_db: float = ACTIVE_DB,
    words: WordErrors | None = None,
) -> Evaluation:
    """Measures estimates of the whole mixtures of ``dataset``, wherever they come from.

    Args:
        separate: gives the estimates of items, and their figures, see :mod:`~asteroid_stab.metrics.separated`.
        figures: the figures that it gives, by name.

    The other arguments, and what is raised, are as in :func:`evaluate`.
    """
    varies = dataset.n_active is not None
    n_items = len(dataset) if limit is None else min(limit, len(dataset))
    own_columns = {*ITEM_COLUMNS, *columns(pool.metrics), INPUT_SNR, *COUNTS, *(() if words is None else FIGURES)}
    taken = own_columns & set(figures)
    if taken:
        raise ValueError(f"a model's figure must have a name of its own, got the column {sorted(taken)[0]!r}")

    if words is not None:
        separate, figures = words.after(separate), {**figures, **FIGURES}
    may_fail = (*pool.metrics, *(() if words is None else (WER, CPWER)))
    evaluation = Evaluation(pool.metrics, failures={metric: {} for metric in may_fail}, figures=dict(figures))
    of_mixture: dict[int, dict[str, float]] = dict(journal.own) if journal else {}  # input SNR and figures
    measured: dict[int, Measured] = dict(journal.measured) if journal else {}
    failed: dict[int, Mapping[str, str]] = {}  # figures that the metrics do not have
    todo = [i for i in range(n_items) if i not in measured]
    for _ in range(n_items - len(todo)):
        advance()

    def items() -> Iterator[Item]:
        for i, fault, mixture, sources, estimates, own, failures in separate(todo):
            if fault:
                measured[i] = undefined(pool.metrics, dataset.n_src, fault)
                advance()
                continue
            failed[i] = failures
            of_mixture[i] = {INPUT_SNR: input_snr(mixture.numpy(), sources.numpy()), **own}
            if varies:
                of_mixture[i][COUNTS[1]] = int(active_estimates(estimates, mixture, active_db).sum())
            yield Item(i, mixture.numpy(), sources.numpy(), estimates.numpy(), varies)

    for i, found in pool.run(items()):
        measured[i] = found = replace(found, failures={**found.failures, **failed[i]})
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
