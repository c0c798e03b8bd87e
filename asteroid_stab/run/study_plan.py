"""The runs of a study, rows by seeds: checked, and in an order in which each can start, before anything is trained."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from asteroid_stab.errors import StabError, nearest
from asteroid_stab.paths import shown
from asteroid_stab.run.compose import compose_recipe
from asteroid_stab.run.layout import RunLayout, StudyLayout
from asteroid_stab.run.study_rows import Row, check_words, filled, starts_from

METRICS = ("si_sdr",)
"""Metrics that every run of a study is measured with."""


@dataclass(frozen=True)
class StudyRun:
    """One run of a study: a row with a seed.

    Args:
        row: the row.
        seed: the seed.
        run: the run folder.
        words: overrides of the row and of all rows, with the folder and the seed in their places.
        parents: row and seed of the runs that it starts from.
        config_dir: a folder of the user's own recipes.
    """

    row: Row
    seed: int
    run: RunLayout
    words: tuple[str, ...]
    parents: tuple[tuple[str, int], ...]
    config_dir: Path | None = None

    @property
    def key(self) -> tuple[str, int]:
        """Row and seed."""
        return self.row.name, self.seed

    @property
    def name(self) -> str:
        """``ROW/SEED``, as it is printed."""
        return f"{shown(self.row.name)}/{self.seed}"

    @property
    def training(self) -> list[str]:
        """The words that train it, or go on with it."""
        given = [f"run_dir={self.run.root}", f"seed={self.seed}", *self.words]
        return ["train", self.row.recipe, *given, "--or-resume", *self._config_dir]

    @property
    def evaluation(self) -> list[str]:
        """The words that measure it."""
        return ["evaluate", str(self.run.root), "--metrics", *METRICS, "--n-jobs", "1", *self._config_dir]

    @property
    def _config_dir(self) -> list[str]:
        return [] if self.config_dir is None else ["--config-dir", str(self.config_dir)]


def plan(
    rows: Sequence[Row], seeds: Sequence[int], out: Path, overrides: Sequence[str] = (), config_dir: Path | None = None
) -> list[StudyRun]:
    """Returns the runs of a study, by seed and in the rows' order.

    Args:
        rows: the rows.
        seeds: the seeds.
        out: the folder of the study.
        overrides: changes of all rows, which come after each row's own.
        config_dir: a folder of the user's own recipes.

    Raises:
        StabError: an override cannot be read, a row starts from a run that there is not, or rows start from each other.
    """
    if "${" in str(out):
        raise StabError(f"--out must be the name of a folder itself, without ${{...}}, got {str(out)!r}")
    check_words(overrides)
    study, known = StudyLayout(out), {row.name: row for row in rows}
    runs = []
    for seed in seeds:
        for row in rows:
            words = (*row.words, *overrides)
            with row.named():
                parents = tuple(starts_from(words, str(out), seed))
                for parent in parents:
                    _check_parent(parent, known, seeds, study)
            given = tuple(filled(word, str(out), seed) for word in words)
            runs.append(StudyRun(row, seed, study.run(row.name, seed), given, parents, config_dir))
    try:
        TopologicalSorter({run.key: run.parents for run in runs}).prepare()
    except CycleError as error:
        names = [name for name, _ in error.args[1]]
        raise StabError(f"{known[names[0]].at}: rows that start from each other: {', '.join(names)}") from error
    return runs


def _check_parent(parent: tuple[str, int], known: Mapping[str, Row], seeds: Sequence[int], study: StudyLayout) -> None:
    """Checks that the run that a row starts from is one of the study's, or is there.

    Raises:
        StabError: it is neither.
    """
    name, seed = parent
    if (name in known and seed in seeds) or study.run(name, seed).config.exists():
        return
    if name not in known:
        raise StabError(f"it starts from {name!r}, which is no row{nearest(name, known)}")
    raise StabError(f"it starts from {name}/{seed}: add {seed} to --seeds")


def check_configs(runs: Sequence[StudyRun]) -> None:
    """Checks that the recipe of each row composes with its overrides; one seed stands for all.

    Raises:
        StabError: one does not; file and line are named.
    """
    for run in {run.row.name: run for run in reversed(runs)}.values():
        with run.row.named(), redirect_stderr(io.StringIO()):  # notes come with the training, into its log
            compose_recipe(run.row.recipe, [f"seed={run.seed}", *run.words], run.config_dir)
