"""Trainings that are ended within an epoch, by steps, time or a callback: nothing of that epoch is kept."""

from datetime import timedelta

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer

from asteroid_stab.callbacks import EarlyStopping, EndedWithinEpochError, EpochTable, RunCheckpoint, WholeEpochs
from asteroid_stab.errors import StabError


class StopAt(pl.Callback):
    """Asks the trainer to stop after a batch."""

    def __init__(self, epoch, batch):
        self.at = (epoch, batch)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        trainer.should_stop |= (trainer.current_epoch, batch_idx) == self.at


@pytest.fixture
def fit(tiny_data, tiny_trainer, tiny_system):
    """Trains in a folder, of whose epochs each has four steps; gives the system and WholeEpochs."""

    def fit(root, epochs, callbacks=(), max_steps=-1, resume=False, **kwargs):
        system, whole = tiny_system(), WholeEpochs(max_steps)
        trainer = tiny_trainer(
            root, max_epochs=epochs, callbacks=[whole, *callbacks, EpochTable(), RunCheckpoint()], **kwargs
        )
        ckpt = root / "checkpoints" / "last.ckpt" if resume else None
        trainer.fit(system, datamodule=tiny_data(), ckpt_path=ckpt, weights_only=True)
        return system, whole

    return fit


def assert_same(root, other):
    states = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (root, other)]
    for name, value in states[0]["state_dict"].items():
        assert torch.equal(value, states[1]["state_dict"][name]), name
    tables = [pd.read_csv(run / "metrics.csv").drop(columns="seconds") for run in (root, other)]
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.parametrize(
    ("max_steps", "n_epochs", "left"), [(4, 1, 0), (6, 1, 2), (8, 2, 0), (11, 2, 3), (12, 3, 0), (14, 3, 0)]
)
def test_a_limit_of_steps_ends_between_epochs(fit, tmp_path, max_steps, n_epochs, left):
    """Of three epochs, whose twelve steps are the end in any case."""
    _, whole = fit(tmp_path, 3, max_steps=max_steps)
    assert whole.steps_left == left
    assert pd.read_csv(tmp_path / "metrics.csv")["step"].tolist() == [4, 8, 12][:n_epochs]


def test_a_run_goes_on_after_a_limit_of_steps(fit, tmp_path):
    fit(tmp_path / "undisturbed", 3)
    fit(tmp_path / "run", 3, max_steps=6)
    _, whole = fit(tmp_path / "run", 3, max_steps=6, resume=True)  # nothing fits in
    assert (whole.steps_left, len(pd.read_csv(tmp_path / "run" / "metrics.csv"))) == (2, 1)
    fit(tmp_path / "run", 3, max_steps=10, resume=True)
    fit(tmp_path / "run", 3, resume=True)
    assert_same(tmp_path / "run", tmp_path / "undisturbed")


@pytest.mark.parametrize("max_steps", [0, -2, 1.5, True])
def test_a_limit_of_steps_is_a_number_of_them(max_steps):
    with pytest.raises(StabError, match=f"trainer.max_steps must be a whole number of at least 1, .* got {max_steps}"):
        WholeEpochs(max_steps)


def test_a_limit_of_steps_holds_an_epoch(fit, tmp_path):
    with pytest.raises(StabError, match="trainer.max_steps must be at least the 4 steps of an epoch, got 3"):
        fit(tmp_path / "run", 3, max_steps=3)
    assert not (tmp_path / "run" / "metrics.csv").exists()


@pytest.mark.parametrize("at", [(1, 0), (1, 2), (0, 1)])
def test_nothing_is_kept_of_an_epoch_that_is_not_whole(fit, tmp_path, at):
    epoch, batch = at
    fit(tmp_path / "undisturbed", 3)
    message = f"ended by a callback in epoch {epoch + 1}, after {batch + 1} of 4 batches"
    with pytest.raises(EndedWithinEpochError, match=message):
        fit(tmp_path / "run", 3, [StopAt(*at)])
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists() == (epoch > 0)
    assert (tmp_path / "run" / "best_model.pth").exists() == (epoch > 0)
    fit(tmp_path / "run", 3, resume=epoch > 0)
    assert_same(tmp_path / "run", tmp_path / "undisturbed")


def test_a_stop_after_the_last_batch_is_no_part_of_an_epoch(fit, tmp_path):
    fit(tmp_path, 3, [StopAt(1, 3)])
    assert pd.read_csv(tmp_path / "metrics.csv")["step"].tolist() == [4, 8]


def test_a_limit_of_time_is_of_each_process(fit, tmp_path):
    """A run that was ended by its limit goes on with the whole of it."""

    class Late(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if (trainer.current_epoch, batch_idx) == (1, 1):
                timer = next(part for part in trainer.callbacks if isinstance(part, Timer))
                timer._offset += 3600

    limit = {"max_time": timedelta(hours=1)}
    fit(tmp_path / "undisturbed", 3)
    with pytest.raises(EndedWithinEpochError, match=r"ended by trainer.max_time in epoch 2, after 2 of 4 batches"):
        fit(tmp_path / "run", 3, [Late()], **limit)
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    saved["callbacks"]["Timer"]["time_elapsed"]["train"] = 3599.9999
    torch.save(saved, tmp_path / "run" / "checkpoints" / "last.ckpt")
    fit(tmp_path / "run", 3, resume=True, **limit)
    assert_same(tmp_path / "run", tmp_path / "undisturbed")


def test_early_stopping_goes_by_the_last_validation_of_an_epoch(fit, tmp_path):
    """Two validations an epoch, and no patience: it would stop within the second epoch."""
    stop = EarlyStopping("val/si_sdr", mode="max", min_delta=1e9, patience=1)
    fit(tmp_path, 5, [stop], val_check_interval=0.5)
    assert pd.read_csv(tmp_path / "metrics.csv")["step"].tolist() == [4, 8]


def test_a_checkpoint_is_of_whole_epochs_in_any_trainer(tmp_path, tiny_data, tiny_trainer, tiny_system):
    trainer = tiny_trainer(tmp_path, max_epochs=3, max_steps=6, callbacks=[RunCheckpoint()])
    trainer.fit(tiny_system(), datamodule=tiny_data())
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert (saved["epoch"], saved["global_step"]) == (0, 4)
