"""Pre-training, fine-tuning and multi-task training from the command line: killed, resumed, and on two processes."""

import numpy as np
import pandas as pd
import pytest
import torch
from runs import KILL, SMALL, WORKERS, assert_same_weights, stab, state

NOISY = ["data.base.n_utterances=1", "data.n_train=16", "data.n_valid=4", "data.n_test=4", "loader.segment_s=0.5"]
MODEL = [word for word in SMALL if word.startswith(("model.", "trainer.", "scheduler"))]
TASKS = {
    "se": ["ssl/toy_se"],
    "mama": ["ssl/toy_mama", "pretext.n_fft=64", "pretext.hop=16"],
    "cc": ["ssl/toy_cc", "pretext.n_dims=16", "pretext.n_distractors=10"],
}


def pretrain(run, task, esc, *words, **kwargs):
    given = [*MODEL, *NOISY, f"data.noise_root={esc}", "loader.batch_size=4", "logger=none"]
    recipe, *own = TASKS[task]
    return stab("train", recipe, f"run_dir={run}", *given, *own, "trainer.max_epochs=3", *words, **kwargs)


def finetune(run, before, *words, **kwargs):
    given = [
        *SMALL,
        "data.n_train=16",
        "loader.batch_size=4",
        "data.n_utterances=1",
        "logger=none",
        f"init.path={before}",
    ]
    return stab("train", "ssl/toy_finetune", f"run_dir={run}", *given, "trainer.max_epochs=3", *words, **kwargs)


def multitask(run, esc, *words, **kwargs):
    small = ["base.n_train=16", "base.n_utterances=1", "enhancement.n_train=8", "enhancement.base.n_utterances=1"]
    small += ["base.n_valid=4", "base.n_test=4", f"enhancement.noise_root={esc}"]
    given = [*MODEL, *(f"data.{word}" for word in small), "loader.segment_s=0.5", "loader.batch_size=4"]
    given += ["logger=none", "trainer.max_epochs=3"]
    return stab("train", "ssl/toy_multitask", f"run_dir={run}", *given, *words, **kwargs)


def same_tables(a, b):
    tables = [pd.read_csv(run / "metrics.csv").drop(columns="seconds") for run in (a, b)]
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_pretraining_killed_in_mid_epoch_and_resumed(tmp_path, esc, task):
    """Equal to the last bit, what the task draws included."""
    pretrain(tmp_path / "whole", task, esc, KILL)
    killed = pretrain(tmp_path / "run", task, esc, KILL, WORKERS, KILL_AT="1,2", check=False)
    assert killed.returncode == -9, killed.stderr
    stab("train", f"resume={tmp_path / 'run'}")
    assert_same_weights(tmp_path / "run", tmp_path / "whole")
    same_tables(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_pretraining_on_two_processes_equals_one(tmp_path, esc, task):
    words = ["trainer.precision=64-true"]
    pretrain(tmp_path / "one", task, esc, *words)
    pretrain(tmp_path / "two", task, esc, *words, "loader.batch_size=2", "trainer=ddp", "trainer.devices=2")
    assert_same_weights(tmp_path / "two", tmp_path / "one", rtol=0, atol=1e-8)


@pytest.mark.slow
def test_finetuning_killed_in_mid_epoch_and_resumed(tmp_path, esc):
    """With a frozen encoder in the first epoch and a rate of its own; resumed without the weights it began with."""
    pretrain(tmp_path / "before", "se", esc, "trainer.max_epochs=1")
    words = ["callbacks=[tracker,freeze]", "callbacks.freeze.parts=[encoder]", "lr_factors=[[encoder,0.1]]", KILL]
    shown = finetune(tmp_path / "whole", tmp_path / "before", *words).stdout
    assert "starts with the weights of" in shown
    assert "masker.mask_net.1.weight" in shown
    killed = finetune(tmp_path / "run", tmp_path / "before", *words, WORKERS, KILL_AT="1,2", check=False)
    assert killed.returncode == -9, killed.stderr
    first = state(tmp_path / "run")["state_dict"]["model.encoder.filterbank._filters"]
    assert torch.equal(first, state(tmp_path / "before")["state_dict"]["model.encoder.filterbank._filters"])
    (tmp_path / "before").rename(tmp_path / "elsewhere")
    resumed = stab("train", f"resume={tmp_path / 'run'}")
    assert "starts with the weights of" not in resumed.stdout
    assert_same_weights(tmp_path / "run", tmp_path / "whole")
    same_tables(tmp_path / "run", tmp_path / "whole")
    end = state(tmp_path / "run")["state_dict"]["model.encoder.filterbank._filters"]
    assert not torch.equal(first, end)


@pytest.mark.slow
def test_finetuning_on_two_processes_equals_one(tmp_path, esc):
    pretrain(tmp_path / "before", "se", esc, "trainer.max_epochs=1")
    words = ["callbacks=[tracker,freeze]", "callbacks.freeze.parts=[masker.TCN]", "trainer.precision=64-true"]
    finetune(tmp_path / "one", tmp_path / "before", *words)
    two = ["loader.batch_size=2", "trainer=ddp", "trainer.devices=2"]
    finetune(tmp_path / "two", tmp_path / "before", *words, *two)
    assert_same_weights(tmp_path / "two", tmp_path / "one", rtol=0, atol=1e-8)


@pytest.mark.slow
def test_multitask_killed_and_on_two_processes(tmp_path, esc):
    multitask(tmp_path / "whole", esc, KILL)
    killed = multitask(tmp_path / "run", esc, KILL, WORKERS, KILL_AT="1,3", check=False)
    assert killed.returncode == -9, killed.stderr
    stab("train", f"resume={tmp_path / 'run'}")
    assert_same_weights(tmp_path / "run", tmp_path / "whole")
    same_tables(tmp_path / "run", tmp_path / "whole")
    assert pd.read_csv(tmp_path / "run" / "metrics.csv")["step"].tolist() == [6, 12, 18]

    words = ["trainer.precision=64-true", "stabilizer=[reweight]", "stabilizer.reweight.alpha=0.3"]
    multitask(tmp_path / "one", esc, *words)
    multitask(tmp_path / "two", esc, *words, "loader.batch_size=2", "trainer=ddp", "trainer.devices=2")
    assert_same_weights(tmp_path / "two", tmp_path / "one", rtol=0, atol=1e-8)
    tables = [pd.read_csv(tmp_path / run / "metrics.csv") for run in ("one", "two")]
    for column in ("train/loss", "train/enhancement_loss", "train/switch_ratio", "val/si_sdr"):
        np.testing.assert_allclose(tables[0][column], tables[1][column], rtol=1e-6, err_msg=column)

    stab("evaluate", tmp_path / "whole", "--metrics", "si_sdr", "--n-jobs", "1")
    rows = pd.read_csv(tmp_path / "whole" / "evaluation" / "test" / "utterances.csv")
    assert len(rows) == 4
