"""Trainings of two processes of which one is ended, killed, stopped or refused: all end, and the run goes on."""

import os
import re
import signal
import socket
import time
from pathlib import Path

import pandas as pd
import pytest
from runs import SMALL, assert_same_weights, stab
from trainings import TWO, Training, lives


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the process of rank 1 in /proc")
@pytest.mark.parametrize(
    ("number", "rank", "status", "message"),
    [
        ("SIGTERM", 0, 143, "ended by SIGTERM; resume="),
        ("SIGTERM", 1, 143, "rank 1 of 2 was ended by SIGTERM; resume="),
        ("SIGINT", 0, 130, "ended by Ctrl-C .SIGINT.; resume="),
        ("SIGKILL", 1, 1, "rank 1 of 2 was killed by SIGKILL; resume="),
        ("SIGKILL", 0, -9, "rank 0 of 2 has ended: its connection is closed; resume="),
        ("SIGSTOP", 1, 1, "rank 1 of 2 has given no sign of life for 30 s: .*; resume="),
        ("SIGSTOP", 0, -9, "rank 0 of 2 has given no sign of life for 30 s: .*; resume="),
    ],
)
def test_both_ranks_end_within_a_minute_and_the_run_goes_on_on_one(tmp_path, number, rank, status, message):
    run, common = tmp_path / "run", ["baseline/toy", *SMALL, "trainer.precision=64-true", "loader.num_workers=1"]
    training = Training(*common, *TWO, f"run_dir={run}", "trainer.max_epochs=500")
    training.wait_for("epoch 2/500")
    child = training.child()
    os.kill([training.process.pid, child][rank], signal.Signals[number])
    got, seconds = training.end()
    deadline = time.monotonic() + 60 - seconds
    while lives(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not lives(child)
    assert got == status, training.text
    time.sleep(0.5)
    assert re.search(message, training.text), training.text
    assert "sync_dist" not in training.text
    n_epochs = len(pd.read_csv(run / "metrics.csv")) + 1
    stab("train", f"resume={run}", "trainer.devices=1", "loader.batch_size=8", f"trainer.max_epochs={n_epochs}")
    stab("train", *common, "logger=none", f"run_dir={tmp_path / 'one'}", f"trainer.max_epochs={n_epochs}")
    assert_same_weights(run, tmp_path / "one", rtol=0, atol=1e-7)


def nodes(tmp_path, words):
    """The command on two machines, each with a working folder of its own; returns status and text of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = [Training(*words, cwd=tmp_path / f"node{n}", NODE_RANK=str(n), **place) for n in (0, 1)]
    return [(training.end()[0], training.text) for training in started]


@pytest.mark.slow
@pytest.mark.parametrize("n_missing", [0, 1])
def test_a_machine_without_the_run_folder_is_refused_on_all(tmp_path, n_missing):
    """Both where it resumes, and where it would start over while the other goes on."""
    for n in (0, 1):
        (tmp_path / f"node{n}").mkdir()
    common = ["baseline/toy", *SMALL, "logger=none", "trainer=ddp", "loader.batch_size=4", "trainer.max_epochs=3"]
    run = tmp_path / f"node{1 - n_missing}" / "run"
    stab("train", *common, f"run_dir={run}", "trainer.devices=1", "trainer.max_epochs=1")
    two = ["trainer.devices=1", "trainer.num_nodes=2", "trainer.max_epochs=3"]
    ends = nodes(tmp_path, ["resume=run", *two])
    assert [status for status, _ in ends] == [2, 2], ends
    assert "'run' is no run folder" in ends[n_missing][1]
    word = f"machine NODE_RANK={n_missing} .* could not start: 'run' is no run folder"
    assert re.search(word, ends[1 - n_missing][1]), ends

    ends = nodes(tmp_path, [*common, *two, "run_dir=run", "--or-resume"])
    starts = ["epoch 1, step [48]", "epoch 1, step [48]"]
    starts[n_missing] = "no checkpoint"
    for status, text in ends:
        assert status == 2, text
        assert re.search(f"same checkpoint of run, got {starts[0]} on rank 0 and {starts[1]} on rank 1", text)
