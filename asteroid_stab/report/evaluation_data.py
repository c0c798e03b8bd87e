"""What the report reads of an evaluation: its tables and the sounds that it kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from asteroid_stab.errors import StabError
from asteroid_stab.report.files import read_json, read_table
from asteroid_stab.report.wording import count
from asteroid_stab.run.layout import EvaluationLayout, ExamplesLayout, RunLayout


@dataclass(frozen=True)
class Example:
    """An item that the evaluation kept the sounds of: the best, the median or the worst one."""

    kind: str
    name: str
    si_sdr_i: float | None
    mixture: Path
    estimates: list[Path]
    sources: list[Path]


@dataclass(frozen=True)
class Evaluation:
    """``evaluation/<split>``: the metrics of each mixture and their summary.

    Args:
        split: train, valid or test.
        utterances: a row a mixture.
        metrics: mean, standard deviation and percentiles of each column of ``utterances``.
        classes: the same of the SI-SDRi of the sources of each class, where sources have classes.
        failures: of each metric the mixtures for which it is undefined, and why.
        sub_blocks: of a model with iterations, the sub-blocks that it applied to a mixture in the mean.
        variant: what it is of, where that is not the whole model: a stage, or limited iterations.
        command: that made it.
        of_another_model: the run's best model has changed since.
        examples: the items whose sounds were kept.
    """

    split: str
    utterances: pd.DataFrame
    metrics: dict[str, dict[str, float]]
    classes: dict[str, dict[str, float]]
    failures: dict[str, dict[str, str]]
    sub_blocks: float | None
    variant: str
    command: str
    of_another_model: bool
    examples: list[Example]


def read_evaluation(files: EvaluationLayout, split: str) -> Evaluation | None:
    """The evaluation of a split that stands in its folder; ``None`` where none does.

    Raises:
        StabError: a file of it cannot be read.
    """
    summary = read_json(files.summary)
    utterances = read_table(files.utterances, needed=("name", "si_sdr_i", "input_si_sdr"))
    if summary is None or utterances is None:  # never made, or broken off before its end
        return None
    absent = {"metrics", "failures", "command"} - set(summary)
    if absent:
        raise StabError(f"{files.summary} must be an evaluation's, got one without {sorted(absent)[0]!r}")
    return Evaluation(
        split=split,
        utterances=utterances,
        metrics=_numbers(summary["metrics"]),
        classes=_numbers(summary.get("classes", {})),
        failures={metric: _reasons(summary, metric) for metric, names in summary["failures"].items() if names},
        sub_blocks=summary.get("compute", {}).get("sub_blocks"),
        variant=", ".join(_variant(summary)),
        command=str(summary["command"]),
        of_another_model=_differs(_model(files.run, summary), summary.get("model_sha256")),
        examples=_read_examples(files.examples),
    )


def read_variants(run: RunLayout, split: str) -> list[Evaluation]:
    """The evaluations of a split with ``--stage`` or ``--max-iterations``, on the same mixtures as the whole one's.

    Args:
        run: the run folder.
        split: the split.

    Raises:
        StabError: a file of one cannot be read.
    """
    whole = read_evaluation(run.evaluation(split), split)
    found = [read_evaluation(one, split) for one in run.variants(split)]
    variants = [one for one in found if one is not None and one.variant]
    return [one for one in variants if whole is None or one.utterances["name"].equals(whole.utterances["name"])]


def _variant(summary: dict[str, Any]) -> list[str]:
    stage, limit = summary.get("stage"), summary.get("max_iterations")
    of_stage = [] if stage is None else [f"stage {stage}"]
    return of_stage if limit is None else [*of_stage, f"{count(limit, 'iteration')} of every block"]


def _model(run: RunLayout, summary: dict[str, Any]) -> Path:
    stage = summary.get("stage")
    return run.model if stage is None else run.stage_model(stage)


def _numbers(table: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    return {
        name: {key: float("nan") if value is None else float(value) for key, value in values.items()}
        for name, values in table.items()
    }


def _reasons(summary: dict[str, Any], metric: str) -> dict[str, str]:
    reasons = summary.get("failure_reasons", {}).get(metric, {})
    return {name: reasons.get(name, "") for name in summary["failures"][metric]}


def _differs(model: Path, digest: str | None) -> bool:
    return digest is not None and model.is_file() and hashlib.sha256(model.read_bytes()).hexdigest() != digest


def _read_examples(files: ExamplesLayout) -> list[Example]:
    listed = read_json(files.listing) or []
    return [
        Example(
            kind=str(entry["kind"]),
            name=str(entry["name"]),
            si_sdr_i=entry.get("si_sdr_i"),
            mixture=files.mixture(str(entry["kind"])),
            estimates=files.estimates(str(entry["kind"])),
            sources=files.sources(str(entry["kind"])),
        )
        for entry in listed
    ]
