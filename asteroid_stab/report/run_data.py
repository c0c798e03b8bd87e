"""What the report reads of a run folder: plain tables, and ``None`` where a file was never made."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from asteroid_stab.errors import StabError

TEXT_COLUMNS = ("id", "name", "class")  # of utterances.csv; every other column holds numbers
COUNTERS = ("epoch", "layer")


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
        command: that made it.
        of_another_model: the run's best model has changed since.
        examples: the items whose sounds were kept.
    """

    split: str
    utterances: pd.DataFrame
    metrics: dict[str, dict[str, float]]
    classes: dict[str, dict[str, float]]
    failures: dict[str, dict[str, str]]
    command: str
    of_another_model: bool
    examples: list[Example]


@dataclass(frozen=True)
class Run:
    """One run folder, read.

    Args:
        name: its label in the report, different from every other run's.
        index: its place in the report, which gives its colour.
        path: the folder as the user named it.
        config: the resolved configuration, as YAML text.
        versions: ``versions.json``: command, recipe, packages, git state, device, number of parameters.
        metrics: ``metrics.csv``, a row an epoch; ``None`` where no epoch has ended.
        switches: ``switches.csv``, a row an epoch and layer; ``None`` where no tracker ran.
        whole: likewise, of ``switches_whole_train.csv``; ``None`` where ``asteroid-stab switches`` was not run.
        evaluation: the evaluation of the report's split; ``None`` where there is none.
        split: the report's split.
        date: when the training began.
        n_named_alike: (of the report) runs whose folder has the same name.
    """

    name: str
    index: int
    path: Path
    config: str
    versions: dict[str, Any] = field(default_factory=dict)
    metrics: pd.DataFrame | None = None
    switches: pd.DataFrame | None = None
    whole: pd.DataFrame | None = None
    evaluation: Evaluation | None = None
    split: str = "test"
    date: str = ""

    @property
    def evaluate_command(self) -> str:
        """The command that makes the evaluation that this report shows."""
        return f"asteroid-stab evaluate {shlex.quote(str(self.path))} --split {shlex.quote(self.split)}"

    def column(self, name: str) -> pd.Series | None:
        """The defined values of a column of ``metrics.csv`` by epoch, or ``None`` where it has none."""
        if self.metrics is None or name not in self.metrics:
            return None
        values = self.metrics.set_index("epoch")[name].dropna()
        return None if values.empty else values

    def switch_ratio(self, layer: int | None = None) -> pd.Series | None:
        """The defined switch ratios by epoch of a layer (by default the last); ``None`` without a tracker."""
        if self.switches is None:
            return None
        layer = int(self.switches["layer"].max()) if layer is None else layer
        rows = self.switches[self.switches["layer"] == layer]
        return rows.set_index("epoch")["switch_ratio"].dropna()

    def metric(self, name: str) -> dict[str, float] | None:
        """Mean, standard deviation and percentiles of a metric over the split; ``None`` if not evaluated."""
        return None if self.evaluation is None else self.evaluation.metrics.get(name)


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """A label for each folder: its name, with as many parents as tell it from the others.

    Raises:
        StabError: a folder is named twice.

    Example:
        >>> distinct_names([Path("/a/x/run"), Path("/a/y/run"), Path("/a/z/other")])
        ['x/run', 'y/run', 'other']
    """
    parts = [path.resolve().parts for path in paths]
    for position, (path, own) in enumerate(zip(paths, parts, strict=True)):
        if own in parts[:position]:
            raise StabError(f"each run must be given once, got {str(path)!r} twice")
    names = []
    for own in parts:
        depth = 1
        while sum(other[-depth:] == own[-depth:] for other in parts) > 1:
            depth += 1
        names.append(str(Path(*own[-depth:])))
    return names


def read_runs(paths: Sequence[Path], split: str = "test") -> list[Run]:
    """The runs of the folders, in their order.

    Args:
        paths: run folders (each holds at least ``config.yaml``).
        split: the split whose evaluation is read.

    Raises:
        StabError: a folder is given twice, or a file in it cannot be read.
    """
    names = distinct_names(paths)
    return [_read_run(path, name, index, split) for index, (path, name) in enumerate(zip(paths, names, strict=True))]


def _read_run(path: Path, name: str, index: int, split: str) -> Run:
    config = path / "config.yaml"
    versions = _read_json(path / "versions.json") or {}
    written = datetime.fromtimestamp(config.stat().st_mtime).isoformat(" ", "minutes")
    return Run(
        name=name,
        index=index,
        path=path,
        config=config.read_text(encoding="utf-8"),
        versions=versions,
        metrics=_read_table(path / "metrics.csv", needed=("epoch",)),
        switches=_read_table(path / "switches.csv", needed=("epoch", "layer", "switch_ratio")),
        whole=_read_table(path / "switches_whole_train.csv", needed=("epoch", "switch_ratio")),
        evaluation=_read_evaluation(path / "evaluation" / split, split),
        split=split,
        date=str(versions.get("date") or f"{written} (of config.yaml)"),
    )


def _read_evaluation(folder: Path, split: str) -> Evaluation | None:
    summary = _read_json(folder / "summary.json")
    utterances = _read_table(folder / "utterances.csv", needed=("name", "si_sdr_i", "input_si_sdr"))
    if summary is None or utterances is None:  # never made, or broken off before its end
        return None
    absent = {"metrics", "failures", "command"} - set(summary)
    if absent:
        raise StabError(f"{folder / 'summary.json'} must be an evaluation's, got one without {sorted(absent)[0]!r}")
    return Evaluation(
        split=split,
        utterances=utterances,
        metrics=_numbers(summary["metrics"]),
        classes=_numbers(summary.get("classes", {})),
        failures={metric: _reasons(summary, metric) for metric, names in summary["failures"].items() if names},
        command=str(summary["command"]),
        of_another_model=_differs(folder.parents[1] / "best_model.pth", summary.get("model_sha256")),
        examples=_read_examples(folder / "examples"),
    )


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


def _read_examples(folder: Path) -> list[Example]:
    listed = _read_json(folder / "examples.json") or []
    return [
        Example(
            kind=str(entry["kind"]),
            name=str(entry["name"]),
            si_sdr_i=entry.get("si_sdr_i"),
            mixture=folder / str(entry["kind"]) / "mixture.wav",
            estimates=_numbered(folder / str(entry["kind"]), "estimate"),
            sources=_numbered(folder / str(entry["kind"]), "source"),
        )
        for entry in listed
    ]


def _numbered(folder: Path, stem: str) -> list[Path]:
    return sorted(folder.glob(f"{stem}_*.wav"), key=lambda path: int(path.stem.rpartition("_")[2]))


def _read_json(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise StabError(f"{path} must hold JSON, got {error}") from error


def _read_table(path: Path, needed: Sequence[str]) -> pd.DataFrame | None:
    if not path.is_file() or path.stat().st_size == 0:
        return None
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)  # a mixture may have the name "NA"
        missing = [column for column in needed if column not in table]
        if missing:
            raise ValueError(f"no column {missing[0]!r}")
        for column in table.columns.difference(TEXT_COLUMNS):
            values = table[column].replace("", "nan").astype(float)
            table[column] = values.astype(int) if column in COUNTERS else values
    except ValueError as error:  # pandas' ParserError and EmptyDataError are ValueErrors
        wanted = ", ".join(needed)
        raise StabError(f"{path} must be a table with the columns {wanted}, got {error}") from error
    return None if table.empty else table
