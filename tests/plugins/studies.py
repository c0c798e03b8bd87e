"""Studies for tests: rows, and a program that trains them in hundredths of a second."""

import json
import sys
from pathlib import Path

from asteroid_stab.run.layout import StudyLayout
from asteroid_stab.run.study_plan import plan
from asteroid_stab.run.study_rows import read_rows
from asteroid_stab.run.study_runner import StudyRunner

PROGRAM = [sys.executable, "-S", str(Path(__file__).with_name("study_program.py"))]
ROWS = """
tuned baseline/toy init.path={out}/pit/{seed} optim.lr=0.1
pit   baseline/toy optim.lr=0.2
other baseline/toy optim.lr=0.3
"""


def runs_in(folder, text=ROWS, seeds=(1, 2), overrides=()):
    """The runs of a study in ``folder/s``."""
    folder.mkdir(exist_ok=True)
    file = folder / "study.rows"
    file.write_text(text)
    return plan(read_rows([file]), seeds, folder / "s", overrides)


def runner_in(folder, n_jobs=1, report=None, **given):
    """A runner of these runs; its lines go to ``report``, a list."""
    lines = [] if report is None else report
    return StudyRunner(runs_in(folder, **given), StudyLayout(folder / "s"), PROGRAM, n_jobs, lines.append)


def calls(folder):
    """What the program was asked for: verb and ROW/SEED."""
    file = folder / "s" / "calls.txt"
    asked = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    place = {"train": 2, "evaluate": 1}
    return [f"{words[0]} {'/'.join(words[place[words[0]]].split('/')[-2:])}" for words in asked]


def results(folder, names=("best_model.pth", "epochs.txt", "evaluation/test/utterances.csv")):
    """Model, epochs and scores of every run."""
    runs = sorted(run.parent for run in (folder / "s").glob("*/*/config.yaml"))
    return {"/".join(run.parts[-2:]): [(run / name).read_text() for name in names] for run in runs}
