"""Runs of many methods that are killed at random moments and resumed equal undisturbed runs to the last bit.

``N_KILLS=5`` in the environment kills each run five times instead of three (``make kills``: over a hundred kills).
"""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from runs import PLUGINS, SMALL, assert_same_weights, stab
from trainings import TWO, Training, lives

WEIGHED = ["stabilizer=[reweight,dsd]", "stabilizer.reweight.alpha=0.3", "stabilizer.dsd.epsilon_db=0"]
METHODS = {
    "pit": ["baseline/toy"],
    "layers": ["baseline/toy", "head=layerwise", "model.n_repeats=2", "stabilizer=[dsd]", WEIGHED[2]],
    "weighed": ["baseline/toy", *WEIGHED],
    "attention": ["attention_pit/toy", "loss=attention"],
    "switched": ["attention_pit/toy_attn_hun", "loss.first_epoch.pit=1"],
    "by_step": ["baseline/toy", "scheduler=dptnet", "scheduler.warmup_steps=3"],
}
N_EPOCHS = 6
N_KILLS = int(os.environ.get("N_KILLS", 3))
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]


def ended(words, number, seconds):
    """Exit status of the command that a signal reaches after a while."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PLUGINS)}
    process = subprocess.Popen(
        [sys.executable, "-m", "asteroid_stab.cli.main", *words],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(seconds)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def kills(draw):
    """The signals that a run gets: each of the three in every three."""
    rounds = [draw.sample(SIGNALS, 3) for _ in range(-(-N_KILLS // 3))]
    return [number for one in rounds for number in one][:N_KILLS]


def assert_equal(run, whole):
    """The runs have the same weights and tables, and no unfinished file is left."""
    assert_same_weights(run, whole)
    tables = [pd.read_csv(folder / "metrics.csv").drop(columns="seconds") for folder in (run, whole)]
    pd.testing.assert_frame_equal(*tables)
    assert [file for file in run.rglob("*") if file.name.startswith(".")] == []


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_killed_at_random_moments_and_resumed(tmp_path, method, num_workers):
    """A kill, and the two signals that a program may follow."""
    recipe, *rest = METHODS[method]
    common = ["train", recipe, *SMALL, *rest, "logger=none", f"trainer.max_epochs={N_EPOCHS}"]
    started = time.monotonic()
    stab(*common, f"run_dir={tmp_path / 'whole'}")
    seconds = time.monotonic() - started
    draw = random.Random(f"{method} {num_workers}")
    again = [*common, f"run_dir={tmp_path / 'run'}", f"loader.num_workers={num_workers}", "--or-resume"]
    for number in kills(draw):
        status, errors = ended(again, number, draw.uniform(0.4, 1.0) * seconds)
        assert status in (0, -number, 128 + number), errors  # it may have finished, or be at Python's own end
        assert "Traceback" not in errors
    stab(*again)
    assert_equal(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the process of rank 1 in /proc")
@pytest.mark.parametrize("method", ["weighed", "layers"])
def test_one_of_two_ranks_killed_at_random_moments(tmp_path, method):
    """Either rank gets the signal; the other one ends too, and both go on."""
    recipe, *rest = METHODS[method]
    common = [recipe, *SMALL, *rest, *TWO, "loader.num_workers=1", f"trainer.max_epochs={N_EPOCHS}"]
    started = time.monotonic()
    stab("train", *common, f"run_dir={tmp_path / 'whole'}")
    seconds = time.monotonic() - started
    draw = random.Random(f"two ranks {method}")
    for number in kills(draw):
        training = Training(*common, f"run_dir={tmp_path / 'run'}", "--or-resume")
        time.sleep(draw.uniform(0.4, 1.0) * seconds)
        child = None
        with suppress(AssertionError, FileNotFoundError, ProcessLookupError):  # not there yet, or not any more
            child = training.child()
            os.kill(draw.choice([training.process.pid, child]), number)
        if child is None and training.process.poll() is None:
            training.process.send_signal(number)
        status, _ = training.end()
        deadline = time.monotonic() + 60
        while child is not None and lives(child) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert child is None or not lives(child)
        assert status in (0, 1, -number, 128 + number), training.text
        assert "Traceback" not in training.text
    stab("train", *common, f"run_dir={tmp_path / 'run'}", "--or-resume")
    assert_equal(tmp_path / "run", tmp_path / "whole")
