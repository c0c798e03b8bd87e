"""``asteroid-stab bench ranks``: rounding between the weights of several processes and of one with the same batches."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from asteroid_stab.cli.arguments import positive
from asteroid_stab.errors import StabError
from asteroid_stab.run.layout import RunLayout
from bench.frame import Bench, Numbers, progress, table

PRECISIONS = {"float64": "64-true", "float32": "32-true"}
"""Kind of number -> Lightning's word for it."""


def words(options: argparse.Namespace, kind: str, n_processes: int, folder: Path) -> list[str]:
    """Words of the training command of one side: ``n_processes`` share the batch that one process would have."""
    n_items = options.batch_size * options.processes
    processes = ["trainer=ddp", f"trainer.devices={n_processes}"] if n_processes > 1 else ["trainer.devices=1"]
    return [
        *("train", "baseline/toy", f"run_dir={folder}", "trainer.max_epochs=1", "scheduler=none", "logger=none"),
        *("data.n_valid=8", f"data.n_train={n_items * options.steps}", f"loader.batch_size={n_items // n_processes}"),
        *(f"trainer.precision={PRECISIONS[kind]}", "trainer.accelerator=cpu", *processes),
    ]


def train(words: list[str]) -> None:
    """Runs the command in a process of its own.

    Raises:
        StabError: it fails.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "asteroid_stab.cli.main", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise StabError(f"the training failed with status {done.returncode}:\n{done.stdout}{done.stderr}")


def distance(one: Path, other: Path) -> float:
    """Largest difference between the weights of two runs."""
    import torch

    files = [RunLayout(folder).last_checkpoint for folder in (one, other)]
    ours, theirs = (torch.load(file, map_location="cpu", weights_only=True)["state_dict"] for file in files)
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def measure(options: argparse.Namespace) -> Numbers:
    """A row for each kind of number."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for kind in progress(options.kinds):
            folders = {n: Path(scratch) / f"{kind}_{n}" for n in (1, options.processes)}
            for n_processes, folder in folders.items():
                train(words(options, kind, n_processes, folder))
            rows.append({"kind": kind, "distance": distance(*folders.values())})
    return {"rows": rows}


def show(numbers: Numbers, options: argparse.Namespace) -> list[Any]:
    """The table."""
    title = f"{options.processes} processes and one\n{options.steps} steps with Adam"
    cells = [[row["kind"], f"{row['distance']:.0e}"] for row in numbers["rows"]]
    return [table(title, ["numbers", "largest difference\nof a weight"], cells, n_left=1)]


def check(options: argparse.Namespace) -> None:
    """Checks that there are two sides.

    Raises:
        StabError: there is one process only.
    """
    if options.processes < 2:
        raise StabError(f"--processes must be at least 2, got {options.processes}")


BENCH = Bench(
    name="ranks",
    summary="rounding between the weights of several processes and of one with the same batches",
    measure=measure,
    show=show,
    check=check,
    shared={"batch_size": 4},
    options={
        "--processes": {"type": positive, "default": 2, "metavar": "N", "help": "processes of one side (2)"},
        "--steps": {"type": positive, "default": 24, "metavar": "N", "help": "steps of the training (24)"},
        "--kinds": {"choices": tuple(PRECISIONS), "nargs": "+", "default": tuple(PRECISIONS), "help": "numbers (all)"},
    },
    packages=("torch", "pytorch-lightning", "asteroid"),
)
