"""Mixture lists in LibriMix's CSV format: the utterances of each mixture, and their gains."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from asteroid_stab.atomic import replacing
from asteroid_stab.data.lists.table import ListTable
from asteroid_stab.paths import inside


@dataclass(frozen=True)
class MixtureList:
    """Rows of a mixture list; every field has one entry a mixture.

    Attributes:
        names: the mixtures' ids.
        sources: paths of the J sources, relative to the speech corpus.
        gains: factor of each source.
        noises: path of the noise, relative to the noise corpus; empty where the list has no noise.
        noise_gains: factor of the noise; empty where the list has no noise.
    """

    names: list[str]
    sources: list[list[str]]
    gains: list[list[float]]
    noises: list[str] = field(default_factory=list)
    noise_gains: list[float] = field(default_factory=list)

    @property
    def n_src(self) -> int:
        """Sources in a mixture."""
        return len(self.sources[0])

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: Sequence[int]) -> MixtureList:
        """Returns the list of these rows alone.

        Example:
            >>> rows = MixtureList(["x", "y"], [["a", "b"], ["c", "d"]], [[1.0, 0.5], [0.3, 0.4]])
            >>> rows.take([1]).sources
            [['c', 'd']]
        """

        def part(column: list) -> list:
            return [column[row] for row in rows] if column else []

        return MixtureList(
            part(self.names), part(self.sources), part(self.gains), part(self.noises), part(self.noise_gains)
        )


def read_mixture_list(path: str | os.PathLike[str]) -> MixtureList:
    """Reads the list of a CSV file.

    Its columns are mixture_ID, source_k_path, source_k_gain (k from 1 to the number of sources), noise_path and
    noise_gain. Both noise columns may be absent, other columns are ignored.

    Args:
        path: a CSV file, as LibriMix publishes them and ``asteroid-stab prepare`` writes them.

    Raises:
        StabError: no such file, a column is missing, an entry is empty or no number, a path leads out of the corpus,
            or there are no rows.
    """
    table = ListTable(path, "mixture list", "; `asteroid-stab prepare` makes one")
    n_src = max(source_numbers(table.columns), default=1)
    table.require(["mixture_ID", *(f"source_{k + 1}_{what}" for k in range(n_src) for what in ("path", "gain"))])
    noisy = "noise_path" in table.columns or "noise_gain" in table.columns
    if noisy:
        table.require(["noise_path", "noise_gain"])

    def within(row: int, column: str) -> str:
        return inside(table.text(row, column), f"row {row + 1} of {table.label}: {column}")

    every, sources = range(len(table)), range(1, n_src + 1)
    return MixtureList(
        names=table.texts("mixture_ID"),
        sources=[[within(row, f"source_{k}_path") for k in sources] for row in every],
        gains=[[table.number(row, f"source_{k}_gain") for k in sources] for row in every],
        noises=[within(row, "noise_path") for row in every] if noisy else [],
        noise_gains=table.numbers("noise_gain") if noisy else [],
    )


def source_numbers(columns: Sequence[str]) -> list[int]:
    """Returns the numbers k of the columns ``source_k_path``.

    Example:
        >>> source_numbers(["mixture_ID", "source_1_path", "source_2_path", "source_2_gain"])
        [1, 2]
    """
    return [int(match[1]) for column in columns if (match := re.fullmatch(r"source_(\d+)_path", column))]


def write_mixture_list(mixtures: MixtureList, path: str | os.PathLike[str]) -> None:
    """Writes the list, which appears under ``path`` complete or not at all.

    Gains get ten significant digits: far finer than 16 bits, and free of the last digit's differences between
    machines, so that the same list is the same file everywhere.

    Args:
        mixtures: what to write.
        path: the CSV file; replaced if it is there.
    """
    columns = ["mixture_ID"]
    for k in range(1, mixtures.n_src + 1):
        columns += [f"source_{k}_path", f"source_{k}_gain"]
    if mixtures.noises:
        columns += ["noise_path", "noise_gain"]
    with replacing(path) as new, open(new, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row, name in enumerate(mixtures.names):
            cells = [name]
            for source, gain in zip(mixtures.sources[row], mixtures.gains[row], strict=True):
                cells += [source, f"{gain:.10g}"]
            if mixtures.noises:
                cells += [mixtures.noises[row], f"{mixtures.noise_gains[row]:.10g}"]
            writer.writerow(cells)
