"""A run folder as the report reads it: plain tables, and ``None`` where a file does not exist."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from asteroid_stab.errors import StabError
from asteroid_stab.report.evaluation_data import (
    WrittenEvaluation,
    read_evaluation,
    read_oracles,
    read_other_corpora,
    read_variants,
)
from asteroid_stab.report.files import read_json, read_table
from asteroid_stab.report.shapes import VERSIONS
from asteroid_stab.run.item_tables import DATA_MAP
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.metrics_table import last_part
from asteroid_stab.run.stored import read_text


@dataclass(frozen=True)
class Run:
    """One run folder, read.

    Args:
        name: its label in the report, different from every other run's.
        index: its place in the report, which gives its colour.
        path: the folder, as the user named it.
        config: the resolved configuration, as YAML text.
        versions: ``versions.json``: command, recipe, packages, git state, device, number of parameters.
        metrics: ``metrics.csv``, a row for each epoch; ``None`` before the end of the first epoch.
        switches: ``switches.csv``, a row for each epoch and layer; ``None`` without a tracker.
        whole: ``switches_whole_train.csv``, a row for each epoch; ``None`` if ``asteroid-stab switches`` was not run.
        data_map: ``data_map.npy``, visits, mean, spread and switches of each training item; ``None`` without a map.
        evaluation: the evaluation of the report's split; ``None`` if there is none.
        variants: evaluations of variants of the run on the same mixtures.
        oracles: evaluations of beamformers that are given the sources, on the data of the evaluation.
        others: evaluations of the run, its variants and of beamformers on other corpora.
        split: the report's split.
        date: when the training began.
    """

    name: str
    index: int
    path: Path
    config: str
    versions: dict[str, Any] = field(default_factory=dict)
    metrics: pd.DataFrame | None = None
    switches: pd.DataFrame | None = None
    whole: pd.DataFrame | None = None
    data_map: np.ndarray | None = None
    evaluation: WrittenEvaluation | None = None
    variants: list[WrittenEvaluation] = field(default_factory=list)
    oracles: list[WrittenEvaluation] = field(default_factory=list)
    others: list[WrittenEvaluation] = field(default_factory=list)
    split: str = "test"
    date: str = ""

    @property
    def evaluate_command(self) -> str:
        """The command that writes the evaluation of the report's split."""
        return f"asteroid-stab evaluate {shlex.quote(str(self.path))} --split {shlex.quote(self.split)}"

    def column(self, name: str) -> pd.Series | None:
        """The defined values of a column of ``metrics.csv`` by epoch; ``None`` if there are none."""
        if self.metrics is None or name not in self.metrics:
            return None
        values = self.metrics.set_index("epoch")[name].dropna()
        return None if values.empty else values

    @property
    def validation(self) -> pd.Series | None:
        """The validation SI-SDRi by epoch, in the last part of the training; ``None`` where undefined."""
        values = self.column("val/si_sdr_i")
        if self.metrics is None or values is None:
            return None
        values = values[values.index.isin(last_part(self.metrics)["epoch"])]
        return None if values.empty else values

    def switch_ratio(self, layer: int | None = None) -> pd.Series | None:
        """The defined switch ratios of a layer (by default the last) by epoch; ``None`` without a tracker."""
        if self.switches is None:
            return None
        layer = int(self.switches["layer"].max()) if layer is None else layer
        rows = self.switches[self.switches["layer"] == layer]
        return rows.set_index("epoch")["switch_ratio"].dropna()

    def metric(self, name: str) -> dict[str, float] | None:
        """Mean, standard deviation and percentiles of a metric over the split; ``None`` if not evaluated."""
        return None if self.evaluation is None else self.evaluation.metrics.get(name)


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """A label for each folder: its name, with as many parents as are needed to distinguish it from the others.

    A run of a study has its seed as its name, which says nothing without the row.

    Raises:
        StabError: a folder is named twice.

    Example:
        >>> distinct_names([Path("/a/x/run"), Path("/a/y/run"), Path("/a/z/other")])
        ['x/run', 'y/run', 'other']
        >>> distinct_names([Path("/study/pit/1"), Path("/study/pit/2")])
        ['pit/1', 'pit/2']
    """
    parts = [path.resolve().parts for path in paths]
    for position, (path, own) in enumerate(zip(paths, parts, strict=True)):
        if own in parts[:position]:
            raise StabError(f"each run must be given once, got {str(path)!r} twice")
    names = []
    for own in parts:
        depth = 2 if own[-1].isdecimal() else 1
        while sum(other[-depth:] == own[-depth:] for other in parts) > 1:
            depth += 1
        names.append(str(Path(*own[-depth:])))
    return names


def read_runs(paths: Sequence[Path], split: str = "test", corpus: str = "") -> list[Run]:
    """Reads the runs of some folders, in their order.

    Args:
        paths: run folders (each holds at least ``config.yaml``).
        split: the split whose evaluation is read.
        corpus: name of another corpus than the runs' own, whose evaluation is read.

    Raises:
        StabError: a folder is given twice, or a file in it cannot be read.
    """
    names = distinct_names(paths)
    named = enumerate(zip(paths, names, strict=True))
    return [_read_run(path, name, index, split, corpus) for index, (path, name) in named]


def _read_run(path: Path, name: str, index: int, split: str, corpus: str) -> Run:
    files = RunLayout(path)
    text = read_text(files.config)
    versions = read_json(files.versions, VERSIONS) or {}
    written = datetime.fromtimestamp(files.config.stat().st_mtime).isoformat(" ", "minutes")
    return Run(
        name=name,
        index=index,
        path=path,
        config=text,
        versions=versions,
        metrics=read_table(files.metrics, needed=("epoch",)),
        switches=read_table(files.switches, needed=("epoch", "layer", "switch_ratio")),
        whole=read_table(files.whole_switches("train"), needed=("epoch", "switch_ratio")),
        data_map=DATA_MAP.read(files.data_map),
        evaluation=read_evaluation(files.evaluation(split, corpus=corpus), split),
        variants=[] if corpus else read_variants(files, split),
        oracles=read_oracles(files, split, corpus),
        others=read_other_corpora(files, split),
        split=split,
        date=str(versions.get("date") or f"{written} (of {files.config.name})"),
    )
