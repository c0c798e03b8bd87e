"""A model's metrics on whole mixtures: separated here, measured in other processes, written as tables."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from asteroid_stab.atomic import write_text
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.errors import StabError
from asteroid_stab.metrics.input_snr import input_snr
from asteroid_stab.metrics.pool import Item, MetricPool
from asteroid_stab.metrics.separation_metrics import Measured
from asteroid_stab.metrics.summary import summarise
from asteroid_stab.run.layout import EvaluationLayout

SOURCE_COLUMNS = ("input_si_sdr", "si_sdr", "si_sdr_i")


@dataclass
class Evaluation:
    """The metrics of a data set's first mixtures.

    Attributes:
        metrics: what was measured.
        rows: of every mixture, in the order of the ids: ``id``, ``name``, ``n_samples``, and ``input_m``,
            ``m`` and ``m_i`` of every metric m, averaged over the sources, and ``input_snr``; ``nan`` where undefined.
        sources: of every source of every mixture whose sources have classes: ``id``, ``source``, ``class`` and its
            ``input_si_sdr``, ``si_sdr`` and ``si_sdr_i``.
        failures: of every metric the names of the mixtures in which it is undefined, and why.
        fallbacks: names of the mixtures whose SDR, SIR and SAR pb_bss_eval computed, and why.
        most_iterations: of a model with iterations, how many a mixture may be processed in; the rows of such a model
            have ``n_iterations``, those that it was.
        n_sub_blocks: of such a model, how many sub-blocks an iteration applies.
    """

    metrics: tuple[str, ...]
    rows: list[dict[str, Any]] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    fallbacks: dict[str, str] = field(default_factory=dict)
    most_iterations: int | None = None
    n_sub_blocks: int = 1

    @property
    def columns(self) -> list[str]:
        """The metrics' columns, in their order, and those of the noise and of the iterations, where there are any."""
        of_metrics = [name for metric in self.metrics for name in (f"input_{metric}", metric, f"{metric}_i")]
        noisy = any(np.isfinite(row.get("input_snr", np.nan)) for row in self.rows)
        iterated = self.most_iterations is not None
        return [*of_metrics, *(["input_snr"] if noisy else []), *(["n_iterations"] if iterated else [])]

    def summary(self) -> dict[str, dict[str, float | int | None]]:
        """Mean, standard deviation and percentiles of every column."""
        return {name: summarise([row[name] for row in self.rows]) for name in self.columns}

    def compute(self) -> dict[str, float | int]:
        """Of a model with iterations: how many there may be (``most``), the share of them that was made, and the
        sub-blocks that were applied to a mixture in the mean."""
        assert self.most_iterations is not None
        used = float(np.mean([row["n_iterations"] for row in self.rows]))
        most, applied = self.most_iterations, used * self.n_sub_blocks
        return {"most": most, "share": used / most, "sub_blocks": applied}

    def classes(self) -> dict[str, dict[str, float | int | None]]:
        """The same of the sources' SI-SDRi, by class."""
        names = sorted({row["class"] for row in self.sources})
        return {name: summarise([row["si_sdr_i"] for row in self.sources if row["class"] == name]) for name in names}


def check_model(model: nn.Module, dataset: MixtureDataset) -> None:
    """Nothing, if ``model`` works at the data's sample rate.

    Raises:
        StabError: it works at another.
    """
    rate = getattr(model, "sample_rate", None)
    if rate is not None and int(rate) != dataset.sample_rate:
        raise StabError(f"the model works at {int(rate)} Hz, the data are sampled at {dataset.sample_rate} Hz")


def separate_whole(model: nn.Module, mixture: Tensor) -> Tensor:
    """Estimates [J, T] of a mixture [T], on the CPU."""
    return separate_counted(model, mixture)[0]


def separate_counted(model: nn.Module, mixture: Tensor) -> tuple[Tensor, int | None]:
    """Estimates [J, T] of a mixture [T], on the CPU, and how many iterations they took, where the model has any.

    Args:
        model: one with iterations has ``most_iterations``, how many there may be, and ``n_sub_blocks``, what each
            applies, and gives those of each item beside the estimates where it is called with
            ``return_iterations=True``.
        mixture: the mixture.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with torch.inference_mode():
        batch = mixture[None].to(device)
        if most_iterations(model) is None:
            return model(batch)[0].float().cpu(), None
        estimates, n_used = model(batch, return_iterations=True)
        return estimates[0].float().cpu(), int(n_used[0])


def most_iterations(model: nn.Module) -> int | None:
    """How many iterations a model makes at most; None where it knows of none."""
    return getattr(model, "most_iterations", None)


def evaluate(
    model: nn.Module,
    dataset: MixtureDataset,
    pool: MetricPool,
    limit: int | None = None,
    advance: Callable[[], object] = lambda: None,
) -> Evaluation:
    """Separates the whole mixtures of ``dataset`` and measures the estimates.

    The model runs in this process, on its own device, while the pool's processes measure what it has
    separated.

    Args:
        model: gives [B, J, T] for [B, T]; it is put in evaluation mode.
        dataset: whole mixtures.
        pool: the processes that measure.
        limit: how many mixtures to take, from the first; None takes all.
        advance: called after every mixture.

    Raises:
        StabError: the model works at another sample rate or separates another number of sources, or no
            mixture has a SI-SDR.
    """
    check_model(model, dataset)
    model.eval()
    n_items = len(dataset) if limit is None else min(limit, len(dataset))

    counts: dict[int, int | None] = {}
    noise: dict[int, float] = {}

    def items() -> Iterator[Item]:
        for i in range(n_items):
            mixture, sources, _ = dataset[i]
            estimates, counts[i] = separate_counted(model, mixture)
            if estimates.shape != sources.shape:
                raise StabError(
                    f"the model must give {list(sources.shape)} (sources, samples) for {dataset.names[i]!r}, "
                    f"got {list(estimates.shape)}"
                )
            noise[i] = input_snr(mixture.numpy(), sources.numpy())
            yield Item(i, mixture.numpy(), sources.numpy(), estimates.numpy())

    measured: dict[int, Measured] = {}
    for i, found in pool.run(items()):
        measured[i] = found
        advance()
    failures: dict[str, dict[str, str]] = {metric: {} for metric in pool.metrics}
    evaluation = Evaluation(pool.metrics, failures=failures, most_iterations=most_iterations(model))
    if evaluation.most_iterations is not None:
        evaluation.n_sub_blocks = int(model.n_sub_blocks)  # type: ignore[arg-type]
    for i in range(n_items):
        name, found = dataset.names[i], measured[i]
        row = {"id": i, "name": name, "n_samples": dataset.lengths[i], **found.values, "input_snr": noise[i]}
        evaluation.rows.append(row if counts[i] is None else {**row, "n_iterations": counts[i]})
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
    unmeasured = evaluation.failures.get("si_sdr", {})
    if len(unmeasured) == n_items:
        raise StabError(f"none of {n_items} mixtures has a SI-SDR: {next(iter(unmeasured.values()), 'no mixtures')}")
    return evaluation


def write_tables(evaluation: Evaluation, folder: Path, facts: dict[str, Any]) -> None:
    """Writes the table of the mixtures, the summary and, of sources with classes, the table of the sources.

    Args:
        evaluation: what was measured.
        folder: where to write.
        facts: what the summary says besides: split, command, model, ...
    """
    place = EvaluationLayout(folder)
    _write_table(place.utterances, ["id", "name", "n_samples", *evaluation.columns], evaluation.rows)
    if evaluation.sources:
        _write_table(place.sources, ["id", "source", "class", *SOURCE_COLUMNS], evaluation.sources)
    summary = {
        **facts,
        "n": len(evaluation.rows),
        "failures": {metric: list(names) for metric, names in evaluation.failures.items()},
        "failure_reasons": {metric: names for metric, names in evaluation.failures.items() if names},
        "reference_fallbacks": evaluation.fallbacks,
        "metrics": evaluation.summary(),
        **({} if evaluation.most_iterations is None else {"compute": evaluation.compute()}),
        **({"classes": evaluation.classes()} if evaluation.sources else {}),
    }
    write_text(place.summary, json.dumps(summary, indent=2, allow_nan=False) + "\n")


def _write_table(file: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in rows)
    write_text(file, text.getvalue())


def _cell(value: Any) -> Any:
    """A table's cell: empty where undefined, and no more digits than the sound has."""
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.6g}"
    return value


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
