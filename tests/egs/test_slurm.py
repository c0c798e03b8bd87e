"""The script of a SLURM job: what it starts on the nodes, and when it puts the job into the queue again.

Trainings that get SLURM's variables and signals are in ``cli/test_clusters.py``.
"""

import os
import subprocess
from pathlib import Path

import pytest

from asteroid_stab.cli.train import UNFINISHED, make_parser

SCRIPT = Path(__file__).resolve().parents[2] / "egs" / "slurm" / "train.sbatch"


def submit(tmp_path, *words, status=0):
    """Runs the script on a node where srun and scontrol only note their words; gives exit status and the notes."""
    for name, end in (("srun", status), ("scontrol", 0)):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@" >>"{tmp_path}/notes"\nexit {end}\n')
        program.chmod(0o755)
    job = {"SLURM_JOB_ID": "71234", "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS_PER_NODE": "4"}
    done = subprocess.run(
        ["bash", SCRIPT, *words], env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", **job}, check=False
    )
    notes = tmp_path / "notes"
    return done.returncode, notes.read_text().splitlines() if notes.exists() else []


def test_each_task_trains_as_one_of_the_jobs_processes(tmp_path):
    status, notes = submit(tmp_path, "baseline/toy", "runs/a b", "optim.lr=1e-4")
    start = notes.index("asteroid-stab")
    assert (status, notes[0], notes[start + 1]) == (0, "srun", "train")
    options = make_parser().parse_intermixed_args(notes[start + 2 :])
    assert options.or_resume
    assert options.arguments == [
        *("baseline/toy", "run_dir=runs/a b", "trainer=ddp", "trainer.num_nodes=2", "trainer.devices=4"),
        "checkpoint.every_n_steps=500",
        "optim.lr=1e-4",
    ]


@pytest.mark.parametrize(
    ("status", "again"), [(0, False), (1, False), (2, False), (UNFINISHED, True), (138, True), (143, True)]
)
def test_a_job_that_was_not_done_is_queued_again(tmp_path, status, again):
    got, notes = submit(tmp_path, "baseline/toy", "run", status=status)
    assert got == status
    assert (notes[-3:] == ["scontrol", "requeue", "71234"]) == again


def test_without_recipe_and_folder_nothing_starts(tmp_path):
    assert submit(tmp_path, "baseline/toy") == (2, [])
