"""Trainings on two machines, by torchrun and by SLURM's variables: equal to one, ended together, queued again."""

import os
import re
import signal
import socket
import time
from pathlib import Path

import pandas as pd
import pytest
from runs import SMALL, assert_same_weights, stab
from trainings import Training, lives

TWO_NODES = ["trainer=ddp", "trainer.num_nodes=2", "trainer.devices=1", "loader.batch_size=4", "logger=none"]
COMMON = ["baseline/toy", *SMALL, "trainer.precision=64-true"]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def slurm(*words, folders=(None, None), later_s=0):
    """A job of two tasks on two machines, as srun starts them; the first machine may come later."""
    job = {
        "SLURM_JOB_ID": "71234", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_NNODES": "2", "SLURM_NODELIST": "127.0.0.1", "SLURM_LOCALID": "0", "MASTER_PORT": free_port(),
    }  # fmt: skip

    def started(n):
        return Training(*words, cwd=folders[n], **job, SLURM_PROCID=str(n), SLURM_NODEID=str(n))

    second = started(1)
    time.sleep(later_s)
    return [started(0), second]


def torchrun(*words, folders=(None, None)):
    """torchrun on two machines."""
    place = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    launchers = [["-m", "torch.distributed.run", *place, f"--node-rank={n}"] for n in (0, 1)]
    return [Training(*words, cwd=folders[n], launcher=launchers[n]) for n in (0, 1)]


def folders_in(tmp_path):
    """A working folder for each machine: no disk is shared."""
    folders = [tmp_path / f"node{n}" for n in (0, 1)]
    for folder in folders:
        folder.mkdir()
    return folders


def ends(trainings):
    """Status and text of each; the start alone may take minutes on a busy machine."""
    return [(training.end(300)[0], training.text) for training in trainings]


@pytest.mark.slow
def test_a_job_that_is_queued_again_equals_one_left_alone_on_one_process(tmp_path):
    """SLURM sends SIGUSR1 to both tasks shortly before the limit of time."""
    run, two = tmp_path / "run", [*COMMON, *TWO_NODES, "--or-resume"]
    trainings = slurm(*two, f"run_dir={run}", "trainer.max_epochs=500")
    trainings[0].wait_for("epoch 2/500")
    for training in trainings:
        os.kill(training.process.pid, signal.SIGUSR1)
    for status, text in ends(trainings):
        assert status == 138, text
        assert f"ended by SIGUSR1; resume={run} goes on after the last whole epoch" in text
    n_epochs = len(pd.read_csv(run / "metrics.csv")) + 1
    for status, text in ends(slurm(*two, f"run_dir={run}", f"trainer.max_epochs={n_epochs}")):
        assert status == 0, text
        assert "sync_dist" not in text
    stab("train", *COMMON, "logger=none", f"run_dir={tmp_path / 'one'}", f"trainer.max_epochs={n_epochs}")
    assert_same_weights(run, tmp_path / "one", rtol=0, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "n_missing"), [(slurm, 0), (torchrun, 1)])
def test_without_a_shared_disk_a_resumed_run_ends_on_both_with_one_message(tmp_path, launcher, n_missing):
    folders = folders_in(tmp_path)
    stab("train", *COMMON, "logger=none", f"run_dir={folders[1 - n_missing] / 'run'}", "trainer.max_epochs=1")
    two = ["trainer.num_nodes=2", "trainer.devices=1", "trainer.strategy=ddp", "loader.batch_size=4"]
    for status, text in ends(launcher("resume=run", *two, "trainer.max_epochs=3", folders=folders)):
        assert status != 0
        assert "error: " in text
        assert "'run' is no run folder" in text


@pytest.mark.slow
@pytest.mark.parametrize("later_s", [0, 15])
def test_data_that_one_machine_lacks_end_both_with_one_message(tmp_path, later_s):
    """The first machine has not started, prepares its data, or waits for the other one, when that one fails."""
    folders = folders_in(tmp_path)
    (folders[0] / "cache").mkdir()
    (folders[1] / "cache").write_text("a file in the folder's place")
    words = [*COMMON, *TWO_NODES, "run_dir=run", "data.cache_dir=cache", "trainer.max_epochs=1"]
    texts = []
    for status, text in ends(slurm(*words, folders=folders, later_s=later_s)):
        assert status == 2, text
        texts.append(text)
    assert re.search("error: .*cache", texts[1])
    assert re.search("rank 1 of 2 .*cache", texts[0]), texts[0]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds torchrun's processes in /proc")
def test_a_machine_that_is_gone_ends_the_other_within_a_minute(tmp_path):
    """torchrun and its process are killed on the second machine."""
    trainings = torchrun(*COMMON, *TWO_NODES, f"run_dir={tmp_path / 'run'}", "trainer.max_epochs=500")
    trainings[0].wait_for("epoch 2/500")
    agent = trainings[1].process.pid
    tasks = Path(f"/proc/{agent}/task").iterdir()
    children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    for pid in (agent, *children):
        os.kill(pid, signal.SIGKILL)
    started = time.monotonic()
    status, _ = trainings[0].end(60)
    assert status == 1
    assert time.monotonic() - started < 60
    assert re.search("rank 1 of 2 has given no sign of life for 30 s: .*; resume=", trainings[0].text)
    assert not any(map(lives, children))
