"""Results of a study without its models and sounds: small enough to be handed on, or kept beside a table."""

from __future__ import annotations

import shutil
from pathlib import Path

from asteroid_stab.atomic import making, replacing
from asteroid_stab.errors import StabError
from asteroid_stab.run.layout import RunLayout, StudyLayout, study_runs
from asteroid_stab.run.study_record import read_record, write_record


def keep_results(folder: Path, to: Path, split: str = "test") -> tuple[list[str], list[str]]:
    """Copies what the tables of a study are made of into another folder, which is then read like the study's.

    A run is copied if its evaluation has come to its end. Runs that the other folder holds already stay, but the ones
    of the same row and seed, which are replaced: a study may be run on several machines, or over several days, and its
    results gathered.

    Args:
        folder: the folder of the study.
        to: the other folder; it is made if it is not there.
        split: the split that a run must have been evaluated on.

    Returns:
        ``ROW/SEED`` of the runs that were copied, and of the runs without an evaluation, which were not.

    Raises:
        StabError: the folder holds no evaluated run, the other one is in it or around it, or holds results of another
            row of the same name.
    """
    study, kept = StudyLayout(folder), StudyLayout(to)
    here, there = folder.resolve(), to.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise StabError(f"results of {folder} can be kept beside it, not in it or around it, got {str(to)!r}")
    runs = sorted(study_runs(folder), key=lambda run: (run.root.parts[-2], run.root.name))
    ready = [run for run in runs if run.evaluation(split).summary.is_file()]
    if not ready:
        raise StabError(f"no run of {folder} has an evaluation of {split}, so that there is no result to keep")
    rows = _merged(study, kept, {run.root.parts[-2] for run in ready})
    with making(to):
        for run in ready:
            _copy(run, study, kept)
        write_record(kept, rows)
    names = {run: "/".join(run.root.parts[-2:]) for run in runs}
    return [names[run] for run in ready], [names[run] for run in runs if run not in ready]


def _merged(study: StudyLayout, kept: StudyLayout, copied: set[str]) -> dict[str, list[str]]:
    """The rows that the other folder will hold, in the study's order, then the ones that it holds already."""
    new, before = read_record(study), read_record(kept)
    for row in sorted(copied & set(new) & set(before)):
        if new[row] != before[row]:
            raise StabError(
                f"{kept.root} holds results of another row {row!r}, {' '.join(before[row])!r}, and {study.root} has "
                f"{' '.join(new[row])!r}: keep them in another folder"
            )
    return {**{row: words for row, words in new.items() if row in copied or row in before}, **before}


def _copy(run: RunLayout, study: StudyLayout, kept: StudyLayout) -> None:
    """Copies the tables of one run; what the other folder held of it and this one does not is removed."""
    row, seed = run.root.parts[-2], run.root.name
    target = RunLayout(kept.root / row / seed)
    files = {target.root / file.relative_to(run.root): file for file in run.tables()}
    for old in target.tables():
        if old not in files:
            old.unlink()
    if seed.isdecimal() and (steps := study.steps(row, int(seed))).is_file():
        files[kept.steps(row, int(seed))] = steps
    for new, file in files.items():
        with replacing(new) as unfinished:
            shutil.copyfile(file, unfinished)
