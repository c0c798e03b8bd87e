"""Trainings with checkpoints within epochs: ended after any step and resumed, they equal trainings left alone."""

import contextlib
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from runs import KILL, SMALL, assert_same_weights, stab, state
from trainings import TWO

from asteroid_stab.callbacks import RunCheckpoint
from asteroid_stab.cli.main import main
from asteroid_stab.run.folder import RunFolder

COMMON = [*SMALL, "logger=none", "trainer.max_epochs=3", "loader.batch_size=4", "data.n_train=16"]
DPTNET = ["model=dptnet", *(f"~{word.partition('=')[0]}" for word in SMALL if word.startswith("model."))]
METHODS = {
    "pit": ["baseline/toy"],
    "weighed": ["baseline/toy", "stabilizer=[reweight,dsd]", "stabilizer.reweight.alpha=0.3",
                "stabilizer.dsd.epsilon_db=0", "callbacks=[tracker,ema]", "callbacks.ema.decay=0.9",
                "trainer.accumulate_grad_batches=2", "data.n_train=32"],
    "switched": ["attention_pit/toy_attn_hun", "loss.first_epoch.pit=1"],
    "hysteresis": ["hysteresis/toy"],
    "graded": ["graded_dropout/toy"],
    "data_map": ["data_map/toy", "callbacks=[tracker,data_map,weights]"],
    "layers": ["dsd_lo/toy", "model.n_repeats=2", "stabilizer.dsd.epsilon_db=0"],
    "by_step": ["baseline/toy", "scheduler=dptnet", "scheduler.warmup_steps=3"],
}  # fmt: skip
STEPS = [(0, 0), (1, 1), (2, 2)]  # epoch and batch, both from 0; an epoch has four batches


class Killed(BaseException):
    """Ends a training as a kill does: nothing is written after it."""


def train(run_dir, *words):
    """Trains in this process; gives the exit status."""
    return main(["train", *map(str, words), f"run_dir={run_dir}"])


def killed_after(monkeypatch, at, run_dir, *words):
    """Trains until the batch of an epoch is done, its checkpoint written."""
    written = RunCheckpoint.on_train_batch_end

    def then_killed(self, trainer, pl_module, outputs, batch, batch_idx):
        written(self, trainer, pl_module, outputs, batch, batch_idx)
        if (trainer.current_epoch, batch_idx) == at:
            raise Killed

    with monkeypatch.context() as patched, contextlib.suppress(Killed):
        patched.setattr(RunCheckpoint, "on_train_batch_end", then_killed)
        train(run_dir, *words)
        raise AssertionError("the training came to its end")


def assert_equal(run, whole):
    assert_same_weights(run, whole)
    for name in (
        "metrics.csv",
        "switches.csv",
        "data_map.npy",
        "item_weights.npy",
        *(f"assignments/epoch_000{i}.npy" for i in range(3)),
    ):
        assert (run / name).exists() == (whole / name).exists(), name
        if name.endswith(".csv") and (run / name).exists():
            tables = [pd.read_csv(folder / name).drop(columns="seconds", errors="ignore") for folder in (run, whole)]
            pd.testing.assert_frame_equal(*tables)
        elif (run / name).exists():
            assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    assert not (run / "checkpoints" / "within.ckpt").exists()


@pytest.mark.parametrize(
    "method", [name if name == "hysteresis" else pytest.param(name, marks=pytest.mark.slow) for name in METHODS]
)
def test_killed_after_a_step_and_resumed_equals_undisturbed(tmp_path, monkeypatch, method):
    """In the first epoch, which has no other checkpoint, and in later ones."""
    recipe, *rest = METHODS[method]
    words = [recipe, *COMMON, *rest]
    run = tmp_path / "run"
    train(tmp_path / "whole", *words)
    for at in STEPS if method == "pit" else STEPS[1:]:
        killed_after(monkeypatch, at, run, *words, "checkpoint.every_n_steps=1", "--or-resume")
        assert state(run, "within.ckpt")["epoch"] == at[0]
    train(run, *words, "--or-resume")
    assert_equal(run, tmp_path / "whole")


@pytest.mark.slow
def test_random_numbers_go_on_where_they_were(tmp_path, monkeypatch):
    """Dropout draws from torch's generator."""
    words = ["baseline/toy", *(word for word in COMMON if not word.startswith("model.")), "trainer.max_epochs=1",
             "model=dptnet", "model.n_filters=16", "model.n_repeats=1", "model.ff_hid=4", "model.n_heads=2",
             "model.dropout=0.3"]  # fmt: skip
    train(tmp_path / "whole", *words)
    killed_after(monkeypatch, (0, 1), tmp_path / "run", *words, "checkpoint.every_n_steps=2")
    saved = state(tmp_path / "run", "within.ckpt")["within_epoch"]["ranks"][0]["random"]["cpu"]
    seed = int(np.random.SeedSequence((42, 0, 0)).generate_state(1)[0])
    assert not torch.equal(saved, torch.Generator().manual_seed(seed).get_state()), "nothing was drawn"
    train(tmp_path / "run", *words, "--or-resume")
    assert_equal(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["lir/toy", "ssl/toy_mama", "variable_sources/toy"])
def test_other_systems_go_on_within_an_epoch(tmp_path, monkeypatch, recipe):
    noise = tmp_path / "noise" / "1-hum"
    noise.mkdir(parents=True)
    for i in range(6):
        samples = np.random.default_rng(i).normal(scale=0.1, size=8000 * 5)
        soundfile.write(noise / f"{i}.wav", samples, 8000)
    noisy = [] if recipe.startswith("variable") else [f"data.noise_root={noise.parent}"]
    words = [recipe, *noisy, "trainer.accelerator=cpu", "logger=none", "loader.batch_size=4",
             "trainer.limit_train_batches=4", "trainer.limit_val_batches=1", "trainer.max_epochs=2"]  # fmt: skip
    train(tmp_path / "whole", *words)
    killed_after(monkeypatch, (1, 1), tmp_path / "run", *words, "checkpoint.every_n_steps=1")
    train(tmp_path / "run", *words, "--or-resume")
    assert_equal(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
def test_a_kill_between_the_end_of_an_epoch_and_the_removal_goes_on_after_the_epoch(tmp_path, monkeypatch, capsys):
    words = ["baseline/toy", *COMMON]
    train(tmp_path / "whole", *words)
    run = tmp_path / "run"
    killed_after(monkeypatch, (0, 2), run, *words, "checkpoint.every_n_steps=1")
    shutil.copy(run / "checkpoints" / "within.ckpt", tmp_path)
    killed_after(monkeypatch, (1, 0), run, *words, "checkpoint.every_n_steps=3", "--or-resume")
    assert not (run / "checkpoints" / "within.ckpt").exists()
    shutil.copy(tmp_path / "within.ckpt", run / "checkpoints")
    train(run, *words, "--or-resume")
    assert_equal(run, tmp_path / "whole")


@pytest.mark.parametrize(
    ("change", "words"),
    [("loader.batch_size=2", "loader.batch_size=4, now it is 2"),
     pytest.param("trainer.accumulate_grad_batches=2", "trainer.accumulate_grad_batches=1, now it is 2",
                  marks=pytest.mark.slow),
     pytest.param("trainer.limit_train_batches=1", "trainer.limit_train_batches=1.0, now it is 1",
                  marks=pytest.mark.slow)],
)  # fmt: skip
def test_other_batches_go_on_after_the_last_whole_epoch(tmp_path, monkeypatch, capsys, change, words):
    run = tmp_path / "run"
    killed_after(monkeypatch, (1, 1), run, "baseline/toy", *COMMON, "checkpoint.every_n_steps=1")
    capsys.readouterr()
    assert main(["train", f"resume={run}", change]) == 0
    printed = capsys.readouterr().out
    assert f"within.ckpt was written within epoch 2 with {words}: goes on after the last whole epoch" in printed
    assert len(pd.read_csv(run / "metrics.csv")) == 3
    assert not (run / "checkpoints" / "within.ckpt").exists()


@pytest.mark.slow
def test_without_a_whole_epoch_other_batches_start_over(tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    killed_after(monkeypatch, (0, 1), run, "baseline/toy", *COMMON, "checkpoint.every_n_steps=1")
    capsys.readouterr()
    assert main(["train", f"resume={run}", "loader.batch_size=8", "trainer.max_epochs=1"]) == 0
    assert "goes on with the first epoch again" in capsys.readouterr().out
    assert pd.read_csv(run / "metrics.csv")["step"].tolist() == [2]


@pytest.mark.slow
def test_a_damaged_checkpoint_within_an_epoch_is_named(tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    killed_after(monkeypatch, (1, 1), run, "baseline/toy", *COMMON, "checkpoint.every_n_steps=1")
    within = run / "checkpoints" / "within.ckpt"
    whole = within.read_bytes()
    for content in (whole[:-2000], (run / "checkpoints" / "last.ckpt").read_bytes()):
        within.write_bytes(content)
        capsys.readouterr()
        assert main(["train", f"resume={run}"]) == 2
        error = capsys.readouterr().err
        assert str(within) in error, error
        assert "is no readable checkpoint" in error, error
        assert error.endswith("remove it to go on after the last whole epoch\n"), error


def test_steps_between_checkpoints_are_a_number_of_them(tmp_path, capsys):
    words = ["baseline/toy", *COMMON, f"run_dir={tmp_path / 'a'}", "checkpoint.every_n_steps=1.5"]
    assert main(["train", *words]) == 2
    assert "checkpoint.every_n_steps: must be int | None, got 1.5" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("max_steps", "status", "steps"), [(7, 75, [4]), (8, 0, [4, 8])])
def test_a_limit_of_steps_counts_the_steps_within_the_epoch(tmp_path, monkeypatch, max_steps, status, steps):
    """The rest of an epoch fits, where the whole of the next does not."""
    run = tmp_path / "run"
    words = ["baseline/toy", *COMMON, "trainer.max_epochs=2", f"+trainer.max_steps={max_steps}"]
    killed_after(monkeypatch, (0, 2), run, *words, "checkpoint.every_n_steps=1")
    assert train(run, *words, "--or-resume") == status
    assert pd.read_csv(run / "metrics.csv")["step"].tolist() == steps


@pytest.mark.slow
@pytest.mark.parametrize("max_steps", [5, 6, 7])
def test_a_limit_that_ends_within_the_epoch_is_no_end(tmp_path, monkeypatch, capsys, max_steps):
    """The checkpoint within the second epoch is of step 6: no step is left, one is too many, or one is left."""
    run = tmp_path / "run"
    words = ["baseline/toy", *COMMON, "trainer.max_epochs=2", "+trainer.max_steps=8"]
    killed_after(monkeypatch, (1, 1), run, *words, "checkpoint.every_n_steps=1")
    capsys.readouterr()
    assert main(["train", f"resume={run}", f"trainer.max_steps={max_steps}"]) == 75
    out = capsys.readouterr().out
    assert f"ended after 6 steps, with trainer.max_steps={max_steps}: this epoch would not be whole" in out
    assert "goes on after the last checkpoint within the epoch" in out
    assert state(run, "within.ckpt")["global_step"] == 6


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_a_sigkill_with_workers(tmp_path, num_workers):
    words = ["train", "baseline/toy", *COMMON, KILL, f"loader.num_workers={num_workers}", "checkpoint.every_n_steps=1"]
    run, whole = tmp_path / "run", tmp_path / "whole"
    stab("train", "baseline/toy", *COMMON, KILL, f"run_dir={whole}")
    for at in ("0,2", "1,3"):
        assert stab(*words, f"run_dir={run}", "--or-resume", KILL_AT=at, check=False).returncode == -9
    assert state(run, "within.ckpt")["epoch"] == 1
    stab(*words, f"run_dir={run}", "--or-resume")
    assert_equal(run, whole)


@pytest.mark.slow
def test_two_ranks_go_on_within_an_epoch(tmp_path):
    """Each has its own part of the epoch; one process alone goes on after the last whole epoch."""
    words = [*COMMON, *METHODS["weighed"][1:], *TWO, "loader.batch_size=2", KILL]
    run, whole = tmp_path / "run", tmp_path / "whole"
    stab("train", "baseline/toy", *words, f"run_dir={whole}")
    more = ["train", "baseline/toy", *words, f"run_dir={run}", "checkpoint.every_n_steps=1", "loader.num_workers=1"]
    assert stab(*more, KILL_AT="1,6", check=False).returncode != 0
    within = state(run, "within.ckpt")
    assert (within["epoch"], within["within_epoch"]["n_ranks"], len(within["within_epoch"]["ranks"])) == (1, 2, 2)
    shutil.copytree(run, tmp_path / "alone")
    resumed = stab("train", f"resume={run}")
    assert "holds what the first of" not in resumed.stdout + resumed.stderr
    assert_equal(run, whole)
    alone = stab("train", f"resume={tmp_path / 'alone'}", "trainer.devices=1", "trainer.strategy=auto")
    assert "with the number of processes=2, now it is 1: goes on after the last whole epoch" in alone.stdout


@pytest.mark.slow
def test_nothing_is_written_within_an_epoch_unless_asked(tmp_path, monkeypatch):
    killed_after(monkeypatch, (1, 1), tmp_path, "baseline/toy", *COMMON, "--or-resume")
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["best.ckpt", "last.ckpt"]


def test_the_clock_of_max_time_starts_again_within_an_epoch(tmp_path, monkeypatch):
    """A job's time is its own: with the clock of the job before, each would end at once."""
    run = tmp_path / "run"
    words = ["baseline/toy", *COMMON, "trainer.max_epochs=1", "+trainer.max_time=00:01:00:00"]
    killed_after(monkeypatch, (0, 1), run, *words, "checkpoint.every_n_steps=1")
    within = run / "checkpoints" / "within.ckpt"
    saved = torch.load(within, weights_only=True)
    for clocks in (saved["callbacks"], saved["within_epoch"]["ranks"][0]["callbacks"]):
        clocks["Timer"]["time_elapsed"]["train"] = 2 * 24 * 3600.0
    torch.save(saved, within)
    assert train(run, *words, "--or-resume") == 0
    assert pd.read_csv(run / "metrics.csv")["step"].tolist() == [4]


def test_what_a_resumed_run_changes_within_an_epoch_is_kept(tmp_path, monkeypatch):
    run = tmp_path / "run"
    words = ["baseline/toy", *COMMON, "checkpoint.every_n_steps=1"]
    killed_after(monkeypatch, (0, 1), run, *words)
    killed_after(monkeypatch, (0, 2), run, *words, "loader.num_workers=1", "--or-resume")
    assert RunFolder(run).config.loader.num_workers == 1


@pytest.mark.slow
def test_weights_of_init_are_asked_for_where_no_checkpoint_has_others(tmp_path, monkeypatch, capsys):
    words = ["baseline/toy", *COMMON, "trainer.max_epochs=1"]
    first, run = tmp_path / "first", tmp_path / "run"
    train(first, *words)
    killed_after(monkeypatch, (0, 1), run, *words, f"init.path={first}", "checkpoint.every_n_steps=1")
    shutil.copytree(run, tmp_path / "other")
    shutil.rmtree(first)
    capsys.readouterr()
    assert main(["train", f"resume={run}"]) == 0
    assert str(first) not in capsys.readouterr().out
    assert main(["train", f"resume={tmp_path / 'other'}", "loader.batch_size=8"]) == 2
    assert str(first) in capsys.readouterr().err
