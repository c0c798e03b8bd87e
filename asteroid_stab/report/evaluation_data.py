"""An evaluation as the report reads it: its tables and its sounds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from asteroid_stab.errors import StabError
from asteroid_stab.metrics.names import COSTS, NUMBERS, ORACLES, FigureInfo
from asteroid_stab.report.files import check_shape, read_json, read_table
from asteroid_stab.report.shapes import COST, EXAMPLES, SUMMARY
from asteroid_stab.report.wording import count
from asteroid_stab.run.layout import EvaluationLayout, ExamplesLayout, RunLayout
from asteroid_stab.run.summary import current

SAME_DB, SAME = 2e-4, 1e-5
"""By how much the SI-SDR of a mixture may differ for round-off and the digits of a table; noise at -43 dB does more."""
MOST_DB = 60.0
"""Highest SI-SDR of a mixture that is compared; round-off decides about higher ones."""


@dataclass(frozen=True)
class Example:
    """An item whose sounds the evaluation kept: the best, the median or the worst one."""

    kind: str
    name: str
    si_sdr_i: float | None
    mixture: Path
    estimates: list[Path]
    sources: list[Path]


@dataclass(frozen=True)
class WrittenEvaluation:
    """An evaluation of a run, its variant or a beamformer on a split: metrics of each mixture, and their summary.

    Args:
        split: train, valid or test.
        utterances: a row for each mixture.
        metrics: mean, standard deviation and percentiles of each column of ``utterances``.
        classes: the same numbers of the SI-SDRi of the sources of each class, where sources have classes.
        failures: for each metric the mixtures in which it is undefined, and why.
        figures: the figures that the model reports of each mixture, which are columns of ``utterances``.
        variant: the words of the evaluated variant; empty for the run's own model.
        corpus: name of the corpus; empty for the run's own.
        cost: parameters, operations and time of the model; empty where they were not measured.
        command: the command that wrote it.
        of_another_model: whether the model file has changed since.
        limit: number of mixtures that were asked for, from the first; None: all.
        n_of: number of mixtures that there are; None: an earlier version has not kept it.
        target: kind of the references, of a corpus that has several; empty elsewhere.
        oracle: the beamformer that was measured in place of the model; empty for the model.
        n_mics: microphones that the model or the beamformer heard; 1 where an earlier version has not kept it.
        examples: the items whose sounds were kept.
    """

    split: str
    utterances: pd.DataFrame
    metrics: dict[str, dict[str, float]]
    classes: dict[str, dict[str, float]]
    failures: dict[str, dict[str, str]]
    figures: dict[str, FigureInfo]
    variant: str
    corpus: str
    cost: dict[str, float]
    command: str
    of_another_model: bool
    examples: list[Example]
    limit: int | None = None
    n_of: int | None = None
    target: str = ""
    oracle: str = ""
    n_mics: int = 1

    @property
    def is_part(self) -> bool:
        """Whether not all mixtures that there are were measured."""
        n = len(self.utterances)
        return n < self.n_of if self.n_of is not None else n == self.limit

    @property
    def of(self) -> str:
        """The variant or the beamformer, in words; empty for the run's own model."""
        if not self.oracle:
            return self.variant
        return f"{ORACLES.get(self.oracle, self.oracle)}, {count(self.n_mics, 'microphone')}"

    @property
    def n_mixtures(self) -> str:
        """The number of measured mixtures, and of how many they are the first."""
        n = f"{len(self.utterances):,}"
        if not self.is_part:
            return n
        return f"the first {n}" if self.n_of is None else f"the first {n} of {self.n_of:,}"

    @property
    def mixtures(self) -> str:
        """The measured mixtures, and the kind of their references, in words."""
        noun = "mixture" if self.n_mixtures == "1" else "mixtures"
        return f"{self.n_mixtures} {noun}" + (f" against their {self.target} references" if self.target else "")

    def has_names_of(self, other: WrittenEvaluation) -> bool:
        """Whether both are of mixtures of the same names in the same order, against references of the same kind."""
        return self.target == other.target and self.utterances["name"].equals(other.utterances["name"])

    def is_on_mixtures_of(self, other: WrittenEvaluation) -> bool:
        """Whether both are of the same signals: the same names, and the same SI-SDR of each mixture as it is.

        Another room, noise, rate or level between the speakers gives a mixture another SI-SDR. Unlike a digest of the
        samples it is in the tables of earlier versions too, and it is the same on machines whose last digits differ.
        Mixtures that one of the two could not measure do not count.
        """
        if not self.has_names_of(other):
            return False
        before = [np.minimum(one.utterances["input_si_sdr"].to_numpy(np.float64), MOST_DB) for one in (self, other)]
        known = ~np.isnan(before).any(0)
        return np.allclose(before[0][known], before[1][known], rtol=SAME, atol=SAME_DB)


def read_evaluation(files: EvaluationLayout, split: str) -> WrittenEvaluation | None:
    """Reads the evaluation of a split ; ``None`` if there is none.

    Raises:
        StabError: a file of it cannot be read.
    """
    summary = read_json(files.summary, dict)
    utterances = read_table(files.utterances, needed=("name", "si_sdr_i", "input_si_sdr"))
    if summary is None or utterances is None:  # never made, or interrupted before its end
        return None
    absent = {"metrics", "failures", "command"} - set(summary)
    if absent:
        raise StabError(f"{files.summary} must be an evaluation's, got one without {sorted(absent)[0]!r}")
    try:
        summary = current(summary, files.folder)
        check_shape(summary, SUMMARY, files.summary)
        cost = summary.get("cost")
        if cost is not None:
            check_shape(cost, COST, files.summary)
        figures = {name: FigureInfo(**info) for name, info in summary.get("figures", {}).items()}
    except StabError:
        raise
    except (TypeError, AttributeError, KeyError, ValueError) as error:  # keys of an earlier version, or of none
        raise StabError(f"{files.summary} cannot be used: its figures are of no known form ({error})") from error
    return WrittenEvaluation(
        split=split,
        utterances=utterances,
        metrics=_numbers(summary["metrics"]),
        classes=_numbers(summary.get("classes", {})),
        failures={metric: _reasons(summary, metric) for metric, names in summary["failures"].items() if names},
        figures=figures,
        variant=summary.get("variant") or "",
        corpus=summary.get("corpus") or "",
        cost={name: float(cost[name]) for name in COSTS if cost and cost[name] is not None},
        command=str(summary["command"]),
        of_another_model=_differs(_model(files.run, summary), summary.get("model_sha256")),
        examples=_read_examples(files.examples),
        limit=summary.get("limit"),
        n_of=summary.get("n_of"),
        target=summary.get("target") or "",
        oracle=summary.get("oracle") or "",
        n_mics=summary.get("n_mics") or 1,
    )


def read_variants(run: RunLayout, split: str) -> list[WrittenEvaluation]:
    """Reads the evaluations of the run's variants on the same mixtures as the evaluation of the run itself.

    Args:
        run: the run folder.
        split: the split.

    Raises:
        StabError: a file of one cannot be read.
    """
    whole = read_evaluation(run.evaluation(split), split)
    found = [read_evaluation(one, split) for one in run.variants(split)]
    variants = [one for one in found if one is not None and one.variant]
    return [one for one in variants if whole is None or one.is_on_mixtures_of(whole)]


def read_oracles(run: RunLayout, split: str, corpus: str = "") -> list[WrittenEvaluation]:
    """Reads the evaluations of beamformers on the data of the run, or on another corpus.

    Args:
        run: the run folder.
        split: the split.
        corpus: name of another corpus than the run's own.

    Raises:
        StabError: a file of one cannot be read.
    """
    found = [read_evaluation(one, split) for one in run.oracles(split, corpus)]
    return [one for one in found if one is not None and one.oracle]


def read_other_corpora(run: RunLayout, split: str) -> list[WrittenEvaluation]:
    """Reads the evaluations of the run and its variants on other corpora.

    Args:
        run: the run folder.
        split: the split.

    Raises:
        StabError: a file of one cannot be read.
    """
    found = [read_evaluation(one, split) for one in run.other_corpora(split)]
    return [one for one in found if one is not None and one.corpus]


def _model(run: RunLayout, summary: dict[str, Any]) -> Path:
    """The evaluated model file; its run folder may have been moved since."""
    return run.moved(Path(summary["model"])) if "model" in summary else run.model


def _numbers(table: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    undefined = dict.fromkeys(("n", *NUMBERS), float("nan"))
    return {
        name: {**undefined, **{key: float(value) for key, value in values.items() if value is not None}}
        for name, values in table.items()
    }


def _reasons(summary: dict[str, Any], metric: str) -> dict[str, str]:
    reasons = summary.get("failure_reasons", {}).get(metric, {})
    return {name: reasons.get(name, "") for name in summary["failures"][metric]}


def _differs(model: Path, digest: str | None) -> bool:
    return digest is not None and model.is_file() and hashlib.sha256(model.read_bytes()).hexdigest() != digest


def _read_examples(files: ExamplesLayout) -> list[Example]:
    listed = read_json(files.listing, EXAMPLES) or []
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
