"""Runs of the command for tests: in processes of their own, small, and compared by their checkpoints."""

import os
import subprocess
import sys
from pathlib import Path

import torch

SMALL = [
    "loader.batch_size=8",
    *("data.n_train=32", "data.n_valid=8", "data.n_test=4", "data.n_utterances=2", "loader.segment_s=0.5"),
    *("model.n_filters=32", "model.n_blocks=2", "model.n_repeats=1", "model.bn_chan=8", "model.hid_chan=16"),
    *("model.skip_chan=8", "trainer.accelerator=cpu", "scheduler=plateau"),
]
ROWS = {
    "sink": ["attention_pit/toy", "loss=sinkpit"],
    "hun": ["attention_pit/toy"],
    "attn": ["attention_pit/toy", "loss=attention"],
    "attn_sink": ["attention_pit/toy_attn_sink", "loss.first_epoch.sinkpit=1"],
    "attn_hun": ["attention_pit/toy_attn_hun", "loss.first_epoch.pit=1"],
}
WORKERS = "loader.num_workers=2"  # of killed runs: the undisturbed ones, which they equal, load in their own process
KILL = "+callbacks.kill={_target_: kill_at.KillAt}"
PLUGINS = Path(__file__).resolve().parent


def stab(*words, check=True, **env):
    """Runs the command in a process of its own, one thread; gives what it printed."""
    path = os.pathsep.join([str(PLUGINS), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **env}
    done = subprocess.run(
        [sys.executable, "-m", "asteroid_stab.cli.main", *map(str, words)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if check:
        assert done.returncode == 0, done.stderr
    return done


def state(run_dir, name="last.ckpt"):
    return torch.load(Path(run_dir) / "checkpoints" / name, weights_only=True)


def assert_same_weights(a, b, **tolerance):
    a, b = state(a)["state_dict"], state(b)["state_dict"]
    assert a.keys() == b.keys()
    for key in a:
        _assert_close(a[key], b[key], tolerance or {"rtol": 0, "atol": 0})


def _assert_close(a, b, tolerance):
    """Compares tensors, and what a loss keeps beside them."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            _assert_close(a[key], b[key], tolerance)
    elif isinstance(a, torch.Tensor):
        torch.testing.assert_close(a, b, **tolerance)
    else:
        assert a == b


def train(run_dir, row, *words, n_src=20, **kwargs):
    """Trains a row of ``ROWS`` or a recipe, on little data."""
    recipe, *rest = ROWS.get(row, [row])
    given = [*SMALL, "data.n_train=16", "loader.batch_size=4", "data.n_utterances=1", f"data.n_src={n_src}"]
    return stab("train", recipe, f"run_dir={run_dir}", *given, "logger=none", *rest, *words, **kwargs)
