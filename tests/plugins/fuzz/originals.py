"""Valid files of every kind that the program reads, made once by the program itself; inputs are damaged copies."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

TINY = [
    *("data.n_train=4", "data.n_valid=2", "data.n_test=2", "data.n_utterances=2", "loader.segment_s=0.3"),
    *("loader.batch_size=2", "model.n_filters=8", "model.n_blocks=1", "model.bn_chan=4", "model.hid_chan=4"),
    *("model.skip_chan=4", "trainer.accelerator=cpu", "trainer.max_epochs=2", "scheduler=none", "logger=none"),
]
"""Overrides of ``baseline/toy`` that train in a second."""
_UNTIL_KILLED = """
import os, sys
from asteroid_stab.callbacks import RunCheckpoint
from asteroid_stab.cli.main import main
written = RunCheckpoint.on_train_batch_end
def then_killed(self, trainer, *args):
    written(self, trainer, *args)
    if trainer.current_epoch == 1:
        os._exit(0)
RunCheckpoint.on_train_batch_end = then_killed
sys.exit(main(sys.argv[1:]) or 1)
"""  # a training that ends as a kill does, after the first step of its second epoch
SPEECH = ["data=librispeech", "data.root=speech", "data.list_root=lists", "data.train_list=train.csv"]


@dataclass(frozen=True)
class Originals:
    """Folder of the originals.

    Attributes:
        root: the folder.
        run: a run folder with everything that a run writes, evaluated and reported.
        within: a run folder whose training was killed within its second epoch, with a checkpoint there.
        shared: the folder that push makes of the run for a hub.
        recording: a WAV of a second.
        speech: a folder of speech in LibriSpeech's layout.
        lists: lists of mixtures of it.
        packed: packed audio of it.
        recipe: a folder of recipes of a user's own.
    """

    root: Path
    run: Path
    within: Path
    shared: Path
    recording: Path
    speech: Path
    lists: Path
    packed: Path
    recipe: Path


def program(*words: object, cwd: Path, start: tuple[str, str] = ("-m", "asteroid_stab.cli.main")) -> None:
    """Runs the program in a process of its own; ``start`` are Python's words before its own.

    Raises:
        RuntimeError: it fails.
    """
    command = [sys.executable, *start, *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise RuntimeError(f"{command} failed: {done.stdout}{done.stderr}")


def make_originals(root: Path) -> Originals:
    """Makes the originals in ``root``, a new folder."""
    root.mkdir(parents=True)
    run = root / "run"
    program("train", "baseline/toy", *TINY, "callbacks=[tracker,epoch_models,data_map,weights]", "stabilizer=[dsd]",
            "stabilizer.dsd.epsilon_db=1", f"run_dir={run}", cwd=root)  # fmt: skip
    program("evaluate", run, "--metrics", "si_sdr", "--n-jobs", 1, cwd=root)
    program("switches", run, "--split", "valid", cwd=root)
    shared = root / "shared"
    program("push", run, "ann/a", "--dry-run", "--sounds", "--out", shared, cwd=root)
    within = root / "within"
    program("train", "baseline/toy", *TINY, "callbacks=[tracker,data_map,weights]", "checkpoint.every_n_steps=1",
            f"run_dir={within}", cwd=root, start=("-c", _UNTIL_KILLED))  # fmt: skip
    random = np.random.default_rng(0)
    recording = root / "recording.wav"
    soundfile.write(recording, 0.1 * random.standard_normal(8000), 8000)
    for speaker in range(4):
        for utterance in range(2):
            file = root / f"speech/train-clean-100/{speaker}/1/{speaker}-1-{utterance:04d}.flac"
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, 0.1 * random.standard_normal(9000 + 500 * speaker), 16_000)
    program("prepare", "--librispeech", "speech", "--subset", "train-clean-100", "--min-seconds", 0.4,
            "--n-mixtures", 3, "--out", "lists", cwd=root)  # fmt: skip
    made = next((root / "lists").glob("*.csv"))
    made.rename(root / "lists" / "train.csv")
    program("train", "baseline/toy", *TINY[4:], *SPEECH, "data.valid_list=train.csv", "data.test_list=train.csv",
            "data.cache=packed", "loader.batch_size=1", "run_dir=packed_run", cwd=root)  # fmt: skip
    recipe = root / "recipes" / "own"
    recipe.mkdir(parents=True)
    lines = ["# @package _global_", "# My recipe.", "defaults:", "  - /baseline/toy", "  - _self_", "optim: {lr: 0.01}"]
    (recipe / "mine.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Originals(
        root, run, within, shared, recording, root / "speech", root / "lists", root / "packed", root / "recipes"
    )
