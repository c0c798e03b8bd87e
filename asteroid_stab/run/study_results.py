"""Results of a study without its models and sounds: small enough to be handed on, or kept beside a table."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from asteroid_stab.atomic import making, replacing
from asteroid_stab.errors import StabError
from asteroid_stab.report.run_data import Run, read_runs
from asteroid_stab.run.layout import RunLayout, StudyLayout, study_runs
from asteroid_stab.run.study_items import measured_on
from asteroid_stab.run.study_record import read_record, write_record


class Kept(NamedTuple):
    """Names ``ROW/SEED`` of the runs that were copied; of the others, with the reason."""

    copied: list[str]
    left_out: dict[str, str]


def check_place(folder: Path, to: Path) -> None:
    """Checks that the results of a study can be kept in another folder.

    Raises:
        StabError: it is in the study's folder or around it.
    """
    here, there = folder.resolve(), to.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise StabError(f"results of {folder} can be kept beside it, not in it or around it, got {str(to)!r}")


def keep_results(folder: Path, to: Path, split: str = "test", corpus: str = "") -> Kept:
    """Copies what the tables of a study are made of into another folder, which is then read like the study's.

    A study may be run on several machines, or over several days, and its results gathered: a run that is copied takes
    the place of the one of its row and seed, and the other runs in the folder stay.

    Args:
        folder: the folder of the study.
        to: the other folder; it is made if it is not there.
        split: the split that a run must have been evaluated on.
        corpus: the corpus of that evaluation, if it is another one than the run's own.

    Raises:
        StabError: the folder holds no evaluated run, the other one is in it or around it, or holds results of another
            row of the same name.
    """
    check_place(folder, to)
    study, kept = StudyLayout(folder), StudyLayout(to.resolve())
    layouts = sorted(study_runs(folder), key=lambda run: (run.root.parts[-2], run.root.name))
    faults = {run.path: _fault(run, split, corpus) for run in read_runs([run.root for run in layouts], split, corpus)}
    ready = [run for run in layouts if not faults[run.root]]
    if not ready:
        reasons = "; ".join(dict.fromkeys(faults.values())) or "it has no runs"
        raise StabError(f"{folder} has no result to keep: {reasons}")
    with making(kept.record):
        rows = _merged(study, kept, {run.root.parts[-2] for run in ready})
        for run in ready:
            _copy(run, study, kept)
        write_record(kept, rows)
    names = {run: "/".join(run.root.parts[-2:]) for run in layouts}
    return Kept([names[run] for run in ready], {names[run]: faults[run.root] for run in layouts if run not in ready})


def _fault(run: Run, split: str, corpus: str) -> str:
    """Why the results of a run cannot stand without its model; empty where they can."""
    if run.evaluation is None:
        return f"no evaluation of {measured_on(split, corpus)}"
    if any(one.of_another_model for one in (run.evaluation, *run.variants, *run.others)):
        return "its model has changed since an evaluation (evaluate with --overwrite)"
    return ""


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
    """Copies the tables of one run in the place of what the other folder held of it.

    An evaluation is known by its summary: the old ones are removed first and the new ones written last, so that an
    interrupted copy is no evaluation.
    """
    row, seed = run.root.parts[-2], run.root.name
    target = RunLayout(kept.root / row / seed)
    for old in reversed(target.tables()):
        old.unlink()
    files = {target.root / file.relative_to(run.root): file for file in run.tables()}
    if seed.isdecimal():
        steps = kept.steps(row, int(seed))
        steps.unlink(missing_ok=True)
        if (own := study.steps(row, int(seed))).is_file():
            files = {steps: own, **files}
    for new, file in files.items():
        with replacing(new) as unfinished:
            shutil.copyfile(file, unfinished)
