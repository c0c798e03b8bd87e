"""asteroid-stab train as a user runs it: a run folder, a kill and a resume, two processes, bad input."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from runs import KILL, SMALL, WORKERS, assert_same_weights, stab

from asteroid_stab.cli.main import main
from asteroid_stab.data import ToyCorpus


def train(run_dir, *words, **kwargs):
    return stab("train", "baseline/toy", f"run_dir={run_dir}", *SMALL, "logger=none", *words, **kwargs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of three epochs that nothing disturbed."""
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    done = train(run_dir, "trainer.max_epochs=3", KILL, "logger=tensorboard")
    return run_dir, done


def test_a_run_folder_holds_what_it_should(whole):
    run_dir, done = whole
    config = OmegaConf.load(run_dir / "config.yaml")
    assert config.recipe == "baseline/toy"
    assert config.model.n_src == 2, "interpolations are resolved"
    versions = json.loads((run_dir / "versions.json").read_text())
    assert "train baseline/toy" in versions["command"]
    assert versions["packages"]["asteroid"] == "0.7.0"
    assert set(versions) >= {"git", "python", "device", "n_parameters"}
    metrics = pd.read_csv(run_dir / "metrics.csv")
    assert metrics["epoch"].tolist() == [0, 1, 2]
    assert metrics["step"].tolist() == [4, 8, 12]
    assert metrics["val/si_sdr_i"].iloc[-1] > metrics["val/si_sdr_i"].iloc[0]
    assert len(pd.read_csv(run_dir / "switches.csv")) == 3
    assert np.load(run_dir / "assignments" / "epoch_0002.npy").shape == (1, 32, 2)
    assert list((run_dir / "tensorboard").glob("events*"))
    assert "epoch 3/3: loss" in done.stdout
    assert "best val SI-SDRi" in done.stdout.replace("\n", " ") or "SI-SDRi" in done.stdout


def test_each_epoch_has_a_logged_step_however_short_it_is(whole):
    """Lightning logs a step in fifty, and warned of each training whose epochs are shorter."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_dir, done = whole
    assert "log_every_n_steps" not in done.stderr
    events = EventAccumulator(str(run_dir / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/step_loss")] == [3, 7, 11]


@pytest.mark.slow
def test_each_epoch_has_a_logged_step_where_batches_are_accumulated(tmp_path):
    """Lightning counts the steps of the optimizer."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    few = ["trainer.accumulate_grad_batches=2", "trainer.max_epochs=2", f"run_dir={tmp_path / 'run'}"]
    stab("train", "baseline/toy", *SMALL, *few)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/step_loss")] == [1, 3]


def test_plain_asteroid_loads_the_model(whole, tmp_path):
    """In a process that never imports this package."""
    run_dir, _ = whole
    code = (
        "import sys, torch; from asteroid.models import BaseModel; "
        f"m = BaseModel.from_pretrained({str(run_dir / 'best_model.pth')!r}); "
        "print(tuple(m(torch.zeros(1, 800)).shape), 'asteroid_stab' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(1, 2, 800) False", done.stderr


# In the second epoch, and before the first checkpoint.
@pytest.mark.parametrize(
    ("when", "num_workers"),
    [pytest.param("1,2", 0, marks=pytest.mark.slow), ("1,2", 3), pytest.param("0,1", 1, marks=pytest.mark.slow)],
)
def test_killed_and_resumed_equals_undisturbed(whole, tmp_path, when, num_workers):
    """With workers too, which fetch before the epoch is known."""
    killed = train(
        tmp_path / "run",
        "trainer.max_epochs=3",
        "+callbacks.kill={_target_: kill_at.KillAt}",
        f"loader.num_workers={num_workers}",
        check=False,
        KILL_AT=when,
    )
    assert killed.returncode == -9
    resumed = stab("train", f"resume={tmp_path / 'run'}")
    assert ("starts over" in resumed.stdout) == when.startswith("0")
    assert_same_weights(tmp_path / "run", whole[0])
    for table in ("metrics.csv", "switches.csv"):
        a, b = (
            pd.read_csv(run / table).drop(columns="seconds", errors="ignore") for run in (tmp_path / "run", whole[0])
        )
        pd.testing.assert_frame_equal(a, b)


@pytest.mark.parametrize(
    ("by", "status", "name"),
    [("SIGTERM", 143, "SIGTERM"), pytest.param("SIGINT", 130, "Ctrl-C (SIGINT)", marks=pytest.mark.slow)],
)
def test_ended_by_a_signal_and_resumed_equals_undisturbed(whole, tmp_path, by, status, name):
    run = tmp_path / "run"
    words = ["trainer.max_epochs=3", KILL, WORKERS]
    ended = train(run, *words, KILL_AT="1,1", KILL_BY=by, check=False)
    assert ended.returncode == status
    assert ended.stderr.splitlines()[-1] == (
        f"asteroid-stab train: ended by {name}; resume={run} goes on after the last whole epoch"
    )
    assert "Traceback" not in ended.stderr
    assert len(pd.read_csv(run / "metrics.csv")) == 1
    stab("train", f"resume={run}")
    assert_same_weights(run, whole[0])


@pytest.mark.slow
def test_a_training_that_ends_within_an_epoch_says_so(whole, tmp_path):
    """By its exit status too, so that no script goes on as if it were done; the resumed run has the whole epoch."""
    run = tmp_path / "run"
    ended = train(run, "trainer.max_epochs=3", "+trainer.max_steps=6", check=False)
    assert ended.returncode == 75
    assert "ended after 4 steps, with trainer.max_steps=6: the next epoch would not be whole" in ended.stdout
    stab("train", f"resume={run}", "trainer.max_steps=-1")
    assert_same_weights(run, whole[0])


def test_a_finished_run_goes_on_with_more_epochs(whole, tmp_path):
    train(tmp_path / "run", "trainer.max_epochs=2")
    stab("train", "baseline/toy", f"resume={tmp_path / 'run'}", "trainer.max_epochs=3")
    assert_same_weights(tmp_path / "run", whole[0])


@pytest.mark.slow
def test_or_resume_trains_and_then_goes_on(whole, tmp_path):
    """The same command twice, the second time with more epochs, and with words that come too late."""
    words = ["trainer.max_epochs=2", "optim.lr=0.002", "--or-resume"]
    first = train(tmp_path / "run", *words)
    assert "epoch 2/2: loss" in first.stdout
    second = train(tmp_path / "run", "trainer.max_epochs=3", "optim.lr=0.5", "seed=7", "--or-resume")
    assert "epoch 3/3: loss" in second.stdout
    assert "epoch 2/3: loss" not in second.stdout
    assert_same_weights(tmp_path / "run", whole[0])
    assert OmegaConf.load(tmp_path / "run" / "config.yaml").seed != 7


def test_or_resume_goes_on_with_a_run_of_its_recipe_only(whole, capsys):
    assert main(["train", "dsd_lo/toy", f"run_dir={whole[0]}", "--or-resume"]) == 2
    assert "is a run of 'baseline/toy', not of 'dsd_lo/toy'" in capsys.readouterr().err


def test_or_resume_says_what_it_would_do(whole, tmp_path, capsys):
    words = ["baseline/toy", "trainer.max_epochs=7", "optim.lr=0.5", "--or-resume"]
    for run_dir, rate in ((whole[0], 0.002), (tmp_path / "new", 0.5)):
        assert main(["train", *words, f"run_dir={run_dir}", "--print-config"]) == 0
        config = OmegaConf.create(capsys.readouterr().out)
        assert (config.run_dir, config.trainer.max_epochs, config.optim.lr) == (str(run_dir), 7, rate)


def test_a_run_dir_is_taken_as_it_is_written(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = {"run_dir=1e3": "1e3", "run_dir='a, \\'b\\''": "a, 'b'", "run_dir=a=b, it's é~ [1]": "a=b, it's é~ [1]"}
    for word, folder in words.items():
        assert main(["train", "baseline/toy", word, "--print-config"]) == 0
        assert OmegaConf.create(capsys.readouterr().out).run_dir == folder


@pytest.mark.slow
def test_a_schedule_that_has_ended_is_not_gone_on_with(tmp_path, capsys):
    train(tmp_path / "run", "trainer.max_epochs=1", "scheduler=linear")
    assert main(["train", f"resume={tmp_path / 'run'}", "trainer.max_epochs=2"]) == 2
    assert "ends at 0 after its 1 epochs" in capsys.readouterr().err
    train(tmp_path / "next", "trainer.max_epochs=1", f"init.path={tmp_path / 'run'}", "optim.lr=0.0")
    assert_same_weights(tmp_path / "run", tmp_path / "next")  # it began with them, and learnt nothing


@pytest.mark.slow
def test_a_resumed_run_does_not_start_with_the_weights_of_another_again(tmp_path):
    train(tmp_path / "first", "trainer.max_epochs=1")
    train(tmp_path / "run", "trainer.max_epochs=1", f"init.path={tmp_path / 'first'}")
    shutil.rmtree(tmp_path / "first")
    done = stab("train", f"resume={tmp_path / 'run'}", "trainer.max_epochs=2")
    assert "starts with the weights" not in done.stdout


@pytest.mark.parametrize(
    ("precision", "epochs", "tolerance"),
    [("32-true", 1, 1e-5), pytest.param("64-true", 2, 1e-9, marks=pytest.mark.slow)],
)
def test_two_processes_equal_one(tmp_path, precision, epochs, tolerance):
    """Two gloo processes on half batches: the same weights, figures and assignments.

    In fp32 for an epoch, after which Adam blows the rounding up; in fp64 for longer, which shows that it is rounding.
    """
    common = [f"trainer.max_epochs={epochs}", f"trainer.precision={precision}"]
    train(tmp_path / "one", *common, "loader.batch_size=8")
    train(tmp_path / "two", *common, "loader.batch_size=4", "trainer=ddp", "trainer.devices=2")
    assert_same_weights(tmp_path / "two", tmp_path / "one", rtol=0, atol=tolerance)
    one, two = (pd.read_csv(tmp_path / run / "metrics.csv") for run in ("one", "two"))
    for column in {"train/loss", "val/si_sdr", "val/si_sdr_i", "train/switch_ratio"} & set(one):
        np.testing.assert_allclose(one[column], two[column], rtol=1e-4, atol=1e-5)
    for epoch in range(epochs):
        name = f"assignments/epoch_{epoch:04d}.npy"
        np.testing.assert_array_equal(np.load(tmp_path / "one" / name), np.load(tmp_path / "two" / name))


@pytest.mark.slow
def test_two_processes_equal_one_where_mixtures_are_padded(tmp_path):
    """With workers, sample dropout and validation; the toy corpus' mixtures are 3 to 4.4 s long."""
    common = ["trainer.max_epochs=2", "trainer.precision=64-true", "loader.segment_s=3.5", "loader.pad_short=true"]
    common += ["stabilizer=[dsd]", "stabilizer.dsd.epsilon_db=0", "data.n_train=16", "loader.num_workers=1"]
    assert 0 < ToyCorpus(n_utterances=2, n_train=16).padded_dataset("train", 3.5).n_padded < 16
    train(tmp_path / "one", *common, "loader.batch_size=8")
    train(tmp_path / "two", *common, "loader.batch_size=4", "trainer=ddp", "trainer.devices=2")
    assert_same_weights(tmp_path / "two", tmp_path / "one", rtol=0, atol=1e-9)
    one, two = (pd.read_csv(tmp_path / run / "metrics.csv") for run in ("one", "two"))
    for column in {"train/loss", "train/kept", "val/si_sdr", "val/si_sdr_i"}:
        np.testing.assert_allclose(one[column], two[column], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_two_processes_make_one_folder_under_the_default_name(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "asteroid_stab.cli.main", "train", "baseline/toy", *SMALL, "logger=none",
         "trainer.max_epochs=1", "trainer=ddp", "trainer.devices=2"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = list((tmp_path / "runs" / "baseline" / "toy").iterdir())
    assert len(runs) == 1
    assert (runs[0] / "best_model.pth").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["baseline/toyy"], r"no recipe 'baseline/toyy' \(did you mean 'baseline/toy'\?\)"),
        ([], "which recipe"),
        (["resume="], "resume= needs a path, got nothing"),
        (["baseline/toy", "run_dir="], "run_dir= needs a path, got nothing"),
        (["baseline/toy", "run_dir=" + "n" * 300], "run_dir= must be a path of at most"),
        (["baseline/toy", "seed=1", "--or-resume", "run_dir="], "run_dir= needs a path, got nothing"),
        (["resume=a", "run_dir=a", "--or-resume"], r"--or-resume needs RECIPE run_dir=DIR"),
        (["baseline/toy", "optim.lr=1,2"], r"the override 'optim.lr=1,2' has several values, and one is needed"),
        (["a", "b"], "one recipe at a time, got 'a' and 'b'"),
        (
            ["baseline/toy", "model=convtasnt"],
            r"group 'model' has no option 'convtasnt' \(did you mean 'convtasnet'\?\)",
        ),
        (["baseline/toy", "optim.lrr=1"], r"the config has no key 'optim.lrr' \(did you mean 'optim.lr'\?\)"),
        (["baseline/toy", "optim.lr=fast"], "optim.lr: must be .*got 'fast'"),
        (["baseline/toy", "trainer.max_epochs=1.5"], "trainer.max_epochs: must be .*got 1.5"),
        (["baseline/toy", "+model.n_layers=3"], "takes no 'n_layers'"),
        (["baseline/toy", "model.sample_rate=16000"], "the model works at 16000 Hz and the data at 8000 Hz"),
        (["baseline/toy", "model.n_src=3", *SMALL[:5]], "the model gives 3 estimates .* the data have 2 sources"),
        (["baseline/toy", "data.n_src=200"], "speakers"),
        (["baseline/toy", "loader.segment_s=60"], "segment_s=60"),
        (["baseline/toy", "loader.batch_size=64", *SMALL[1:6]], "batch_size=64"),
        (["baseline/toy", "trainer.accelerator=abacus"], "abacus"),
        (["resume=/nowhere"], "'/nowhere' is no run folder"),
        (["baseline/toy", "optim.lr=["], "optim.lr"),
        (["baseline/toy", "optim.lr=-1.0", *SMALL], "optim.lr must be at least 0, got -1.0"),
        (["baseline/toy", "seed=-1"], "seed must be a whole number from 0"),
        (["baseline/toy", "init.new_output=no"], "init.new_output: must be bool, got 'no'"),
        (["baseline/toy", "init.new_output=true", *SMALL], "need the path of weights"),
        (["baseline/toy", "init.path=/nowhere", *SMALL], "no weights to start with at /nowhere"),
        (["baseline/toy", "loss=attention", "loss.n_src=3", *SMALL], "encoder was made for n_src=3, the data have 2"),
        (["baseline/toy", "loss=probpit", "data.n_src=8", *SMALL], "n_src must be at most 7, got 8; Sink"),
        (["baseline/toy", "loss=probpit", "loss.gamma=inf", *SMALL], "gamma must be a number of at least 0, got inf"),
        (["baseline/toy", "loss=fixed", "loss.run=/nowhere", *SMALL], "/nowhere has no table of assignments"),
        (["baseline/toy", "loss=attn_sink", "loss.first_epoch.sinkpit=abc"], "loss.first_epoch: must be .*abc"),
        (["baseline/toy", "loss=sinkpit", "loss.beta_schedule.most=0.0", *SMALL], "beta must be a number above 0"),
        (["baseline/toy", "loss.loss_func.sdr_type=foo", *SMALL], "PairwiseNegSDR"),
        (["baseline/toy", "head=layerwise", "head.loss.perm=foo", *SMALL], "perm must be one of own, last, got 'foo'"),
        (["baseline/toy", "head=layerwise", "head.loss=null", *SMALL], "head.model and head.loss belong together"),
        (["baseline/toy", "stabilizer.dsd.epsilon_db=1"], r"add stabilizer=\[dsd\]"),
        (["baseline/toy", "stabilizer=[dsd]", "stabilizer.dsd.epsilon_db=-1", *SMALL], "epsilon_db must be at least 0"),
        (["baseline/toy", "--config-dir", "/nowhere"], "--config-dir must be a folder, got '/nowhere'"),
    ],
)
def test_bad_input_is_named_and_exits_2(words, message, tmp_path, capsys):
    extra = (
        ["logger=none", f"run_dir={tmp_path / 'run'}", "trainer.max_epochs=1"] if words[:1] == ["baseline/toy"] else []
    )
    given = {word.partition("=")[0] for word in words}
    status = main(["train", *words, *(word for word in extra if word.partition("=")[0] not in given)])
    err = capsys.readouterr().err
    assert status == 2
    assert err.startswith("asteroid-stab train: error: ")
    assert "Traceback" not in err
    assert re.search(message, err), err


def test_a_folder_that_holds_a_run_is_not_written_over(whole, capsys):
    run_dir, _ = whole
    before = (run_dir / "metrics.csv").read_bytes()
    assert main(["train", "baseline/toy", f"run_dir={run_dir}"]) == 2
    assert f"holds a run already: resume={run_dir} goes on with it" in capsys.readouterr().err
    assert (run_dir / "metrics.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optim.lr=1"], "may change keys of data, loader, trainer, logger, checkpoint, not 'optim.lr'"),
        (["data=librimix"], "may change keys of data, loader, trainer, logger, checkpoint, not 'data'"),
        (["+data.more=1"], "an override of a run must be KEY=VALUE, got '.data.more=1'"),
        (["trainer.max_epochs=4,5"], "the override 'trainer.max_epochs=4,5' has several values"),
        (["trainer.max_epoch=9"], r"no key 'trainer.max_epoch' \(did you mean 'trainer.max_epochs'\?\)"),
        (["baseline/other"], "is a run of 'baseline/toy', not of 'baseline/other'"),
        (["trainer.max_epochs=1"], "has 3 epochs already, got trainer.max_epochs=1"),
        (["loader.batch_size=64"], "must hold at least one batch of batch_size=64"),
        (["data.n_train=40"], "these 40 have [0-9a-f]{16}: a run goes on with the data that it began with"),
    ],
)
def test_resume_refuses_what_would_change_the_result(whole, words, message, capsys):
    before = {path: path.read_bytes() for path in whole[0].rglob("*") if path.is_file()}
    assert main(["train", f"resume={whole[0]}", "trainer.max_epochs=4", *words]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert all(path.read_bytes() == held for path, held in before.items()), "or it could never be gone on with"


def test_a_checkpoint_of_another_model_is_named(whole, tmp_path, capsys):
    shutil.copytree(whole[0], tmp_path / "run")
    config = OmegaConf.load(tmp_path / "run" / "config.yaml")
    config.model.bn_chan = 12
    OmegaConf.save(config, tmp_path / "run" / "config.yaml")
    assert main(["train", f"resume={tmp_path / 'run'}", "trainer.max_epochs=4"]) == 2
    err = capsys.readouterr().err
    assert "last.ckpt" in err
    assert "another model" in err


def test_a_damaged_checkpoint_is_named(whole, tmp_path, capsys):
    shutil.copytree(whole[0], tmp_path / "run")
    file = tmp_path / "run" / "checkpoints" / "last.ckpt"
    file.write_bytes(file.read_bytes()[:2000])
    assert main(["train", f"resume={tmp_path / 'run'}", "trainer.max_epochs=4"]) == 2
    assert "last.ckpt" in capsys.readouterr().err


def test_print_config_trains_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "baseline/toy", "--print-config"]) == 0
    assert OmegaConf.create(capsys.readouterr().out).model.n_src == 2
    assert list(tmp_path.iterdir()) == []


def test_recipes_of_ones_own(tmp_path, capsys):
    """A third party's recipe and callback stand in a folder of their own."""
    (tmp_path / "mine.yaml").write_text(
        "# @package _global_\n# My recipe.\ndefaults:\n  - /baseline/toy\n  - _self_\noptim: {lr: 0.5}\n"
    )
    assert main(["recipes", "--config-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "mine" in out
    assert "My recipe." in out
    assert main(["train", "mine", "--config-dir", str(tmp_path), "--print-config"]) == 0
    assert OmegaConf.create(capsys.readouterr().out).optim.lr == 0.5


def test_unknown_verb(capsys):
    assert main(["trian"]) == 2
    assert "no verb 'trian' (did you mean 'train'?)" in capsys.readouterr().err
