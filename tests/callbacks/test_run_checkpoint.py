"""RunCheckpoint and EpochTable: what a run folder holds after every epoch, and after a disk is full."""

from pathlib import Path

import own_nets
import pandas as pd
import pytest
import torch
from asteroid.models import BaseModel

from asteroid_stab.callbacks import EpochModels, EpochTable, RunCheckpoint
from asteroid_stab.errors import StabError
from asteroid_stab.models import load_model


def fit(root, tiny_trainer, system, data, epochs, callbacks, ckpt=None):
    trainer = tiny_trainer(root, callbacks=callbacks, max_epochs=epochs)
    trainer.fit(system, datamodule=data, ckpt_path=ckpt, weights_only=True)
    return trainer


@pytest.mark.parametrize("make", [RunCheckpoint, EpochModels])
def test_a_model_without_a_file_is_refused_before_the_first_step(tmp_path, tiny_data, tiny_trainer, tiny_system, make):
    system = tiny_system(own_nets.TinyMask())
    with pytest.raises(StabError, match=r"got a TinyMask: asteroid_stab.models.hosted\(TinyMask, \{its arguments"):
        fit(tmp_path, tiny_trainer, system, tiny_data(), 1, [make()])
    assert system.trainer.global_step == 0


def test_best_is_the_best_and_last_is_the_last(tmp_path, tiny_data, tiny_trainer, tiny_system):
    """With a learning rate that destroys the model, an early epoch stays the best."""
    system = tiny_system(lr=1e-2)

    class Wreck(EpochTable):
        def on_train_epoch_start(self, trainer, pl_module):
            super().on_train_epoch_start(trainer, pl_module)
            if trainer.current_epoch == 3:
                trainer.optimizers[0].param_groups[0]["lr"] = 50.0

    table = Wreck()
    fit(tmp_path, tiny_trainer, system, tiny_data(), 5, [table, RunCheckpoint(infos={"recipe": "r"})])
    metrics = pd.read_csv(tmp_path / "metrics.csv")
    best = metrics["val/si_sdr"].idxmax()
    assert best < 4
    checkpoints = tmp_path / "checkpoints"
    assert sorted(p.name for p in checkpoints.iterdir()) == ["best.ckpt", "last.ckpt"]
    assert torch.load(checkpoints / "best.ckpt", weights_only=True)["epoch"] == best
    last = torch.load(checkpoints / "last.ckpt", weights_only=True)
    assert last["epoch"] == 4
    torch.testing.assert_close(last["state_dict"]["model.encoder.filterbank._filters"], system.model.encoder.filterbank._filters.data)  # fmt: skip  # noqa: E501
    conf = torch.load(tmp_path / "best_model.pth", weights_only=True)
    assert conf["infos"]["epoch"] == best
    assert conf["infos"]["recipe"] == "r"
    assert conf["infos"]["val/si_sdr"] == pytest.approx(metrics["val/si_sdr"][best])


def test_the_model_file_opens_in_plain_asteroid(tmp_path, tiny_data, tiny_trainer, tiny_system):
    system = tiny_system()
    fit(tmp_path, tiny_trainer, system, tiny_data(), 1, [RunCheckpoint()])
    wav = torch.randn(1, 800)
    expected = system.model.eval()(wav)
    for model in (BaseModel.from_pretrained(str(tmp_path / "best_model.pth")), load_model(tmp_path)):
        torch.testing.assert_close(model.eval()(wav), expected)


def test_a_run_folder_that_was_moved_keeps_its_best(tmp_path, tiny_data, tiny_trainer, tiny_system):
    fit(tmp_path / "a", tiny_trainer, tiny_system(), tiny_data(), 1, [RunCheckpoint()])
    (tmp_path / "a").rename(tmp_path / "b")
    checkpoint = RunCheckpoint()
    fit(
        tmp_path / "b", tiny_trainer, tiny_system(lr=50.0), tiny_data(), 2, [checkpoint],
        ckpt=tmp_path / "b" / "checkpoints" / "last.ckpt",
    )  # fmt: skip
    assert checkpoint.best_epoch in (0, 1)
    assert checkpoint.best_score is not None
    assert torch.load(tmp_path / "b" / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 1


@pytest.mark.parametrize("when", ["checkpoint", "model file"])
def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path, tiny_data, tiny_trainer, tiny_system, monkeypatch, when):
    """The write stops half-way, as on a full disk; what stood there before still loads."""
    fit(tmp_path, tiny_trainer, tiny_system(), tiny_data(), 1, [RunCheckpoint()])
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    trainer = tiny_trainer(tmp_path, callbacks=[RunCheckpoint()], max_epochs=2)

    whole = torch.save

    def half(*args, **kwargs):
        target = args[0] if when == "checkpoint" else args[1]
        if not isinstance(target, (str, Path)):  # Lightning serialises its checkpoint in memory first
            return whole(*args, **kwargs)
        with open(target, "wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    if when == "checkpoint":
        monkeypatch.setattr(trainer, "save_checkpoint", half)
    else:
        monkeypatch.setattr("asteroid_stab.models.files.torch.save", half)
    with pytest.raises(StabError, match=r"could not write .*No space left.*the checkpoint before it is whole.*resume"):
        trainer.fit(
            tiny_system(lr=2e-2), datamodule=tiny_data(), weights_only=True,
            ckpt_path=tmp_path / "checkpoints" / "last.ckpt",
        )  # fmt: skip
    after = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    changed = {p.name for p in before | after if before.get(p) != after.get(p)}
    assert changed <= ({"best.ckpt"} if when == "model file" else set())
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 0
    load_model(tmp_path)


def test_an_epoch_without_validation_is_not_the_best(tmp_path, tiny_data, tiny_trainer, tiny_system):
    """With a validation every second epoch, resumed in between: the same best model and the same table."""
    for root, parts in ((tmp_path / "whole", [3]), (tmp_path / "parts", [2, 3])):
        for epochs in parts:
            keeper = RunCheckpoint()
            trainer = tiny_trainer(root, max_epochs=epochs, callbacks=[EpochTable(), keeper], check_val_every_n_epoch=2)
            last = root / "checkpoints" / "last.ckpt"
            ckpt = last if last.exists() else None
            trainer.fit(tiny_system(), datamodule=tiny_data(), ckpt_path=ckpt, weights_only=True)
        assert keeper.best_epoch == 1
    tables = [pd.read_csv(tmp_path / run / "metrics.csv").drop(columns="seconds") for run in ("whole", "parts")]
    pd.testing.assert_frame_equal(*tables)
    assert tables[0]["val/si_sdr"].isna().tolist() == [True, False, True]


def test_without_validation_every_epoch_is_kept(tmp_path, tiny_data, tiny_trainer, tiny_system):
    data = tiny_data()
    data.setup("fit")
    system = tiny_system()
    system.train_loader = data.train_dataloader()
    tiny_trainer(tmp_path, callbacks=[RunCheckpoint()], max_epochs=2).fit(system)
    assert torch.load(tmp_path / "best_model.pth", weights_only=True)["infos"]["epoch"] == 1


@pytest.mark.parametrize("state", [{"best_score": [1.0], "best_epoch": 0}, {"best_score": 1.0, "best_epoch": "0"}])
def test_a_damaged_score_is_refused(state):
    with pytest.raises(ValueError, match="score and epoch of the best model must be numbers, got"):
        RunCheckpoint().load_state_dict(state)


def test_mode_is_checked():
    with pytest.raises(ValueError, match="mode must be 'max' or 'min', got 'largest'"):
        RunCheckpoint(mode="largest")


def test_the_table_has_a_row_an_epoch_and_survives_a_resume(tmp_path, tiny_data, tiny_trainer, tiny_system):
    def run(root, epochs, ckpt=None):
        fit(root, tiny_trainer, tiny_system(), tiny_data(), epochs, [EpochTable(), RunCheckpoint()], ckpt)
        return pd.read_csv(root / "metrics.csv").drop(columns="seconds")

    whole = run(tmp_path / "whole", 3)
    assert whole["epoch"].tolist() == [0, 1, 2]
    assert whole["step"].tolist() == [4, 8, 12]
    assert {"train/loss", "val/loss", "val/si_sdr", "val/si_sdr_i", "lr"} <= set(whole)
    run(tmp_path / "parts", 1)
    pd.testing.assert_frame_equal(run(tmp_path / "parts", 3, tmp_path / "parts/checkpoints/last.ckpt"), whole)
