"""Runs of many methods that are killed at random moments and resumed equal undisturbed runs to the last bit."""

import os
import random
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from runs import PLUGINS, SMALL, assert_same_weights, stab

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


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_killed_at_random_moments_and_resumed(tmp_path, method, num_workers):
    """Three times each: a kill, and the two signals that a program may follow; no unfinished file is left."""
    recipe, *rest = METHODS[method]
    common = ["train", recipe, *SMALL, *rest, "logger=none", f"trainer.max_epochs={N_EPOCHS}"]
    started = time.monotonic()
    stab(*common, f"run_dir={tmp_path / 'whole'}")
    seconds = time.monotonic() - started
    draw = random.Random(f"{method} {num_workers}")
    again = [*common, f"run_dir={tmp_path / 'run'}", f"loader.num_workers={num_workers}", "--or-resume"]
    for number in draw.sample([signal.SIGKILL, signal.SIGTERM, signal.SIGINT], 3):
        status, errors = ended(again, number, draw.uniform(0.4, 1.0) * seconds)
        assert status in (0, -number, 128 + number), errors  # it may have finished, or be at Python's own end
        assert "Traceback" not in errors
    stab(*again)
    assert_same_weights(tmp_path / "run", tmp_path / "whole")
    tables = [pd.read_csv(tmp_path / run / "metrics.csv").drop(columns="seconds") for run in ("run", "whole")]
    pd.testing.assert_frame_equal(*tables)
    assert [file for file in (tmp_path / "run").rglob("*") if file.name.startswith(".")] == []
