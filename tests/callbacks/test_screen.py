"""What a training shows: epochs are counted from 1 everywhere on the screen, and from 0 in the files."""

from types import SimpleNamespace

import pandas as pd
import pytest
from omegaconf import OmegaConf

from asteroid_stab.callbacks import EpochTable
from asteroid_stab.callbacks.screen import EpochLines, StabProgressBar
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.screen import show_summary


@pytest.mark.parametrize(("max_epochs", "text"), [(3, "Epoch 1/3"), (-1, "Epoch 1"), (None, "Epoch 1")])
def test_the_bar_counts_from_one(max_epochs, text):
    bar = StabProgressBar()
    bar._trainer = SimpleNamespace(max_epochs=max_epochs)
    assert bar._get_train_description(0).rstrip() == text


def test_the_bar_of_a_training_ends_with_the_last_epoch(tmp_path, tiny_data, tiny_trainer, tiny_system):
    shown = []

    class Bar(StabProgressBar):
        def on_train_epoch_start(self, trainer, pl_module):
            super().on_train_epoch_start(trainer, pl_module)
            shown.append(self.progress.tasks[self.train_progress_bar_id].description.rstrip())

    trainer = tiny_trainer(tmp_path, callbacks=[Bar()], max_epochs=2, enable_progress_bar=True)
    trainer.fit(tiny_system(), datamodule=tiny_data())
    assert shown == ["Epoch 1/2", "Epoch 2/2"]


def test_lines_and_summary_name_an_epoch_alike(tmp_path, tiny_data, tiny_trainer, tiny_system, capsys):
    """The model is destroyed after the second epoch, which therefore is the best of three."""

    class Wreck(EpochTable):
        def on_train_epoch_start(self, trainer, pl_module):
            super().on_train_epoch_start(trainer, pl_module)
            if trainer.current_epoch == 2:
                trainer.optimizers[0].param_groups[0]["lr"] = 50.0

    trainer = tiny_trainer(tmp_path, callbacks=[Wreck(), EpochLines()], max_epochs=3)
    trainer.fit(tiny_system(), datamodule=tiny_data())
    table = pd.read_csv(RunLayout(tmp_path).metrics)
    assert table["epoch"].tolist() == [0, 1, 2]
    assert table["val/si_sdr_i"].idxmax() == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    show_summary(tmp_path, OmegaConf.create({"recipe": "r"}))
    best = capsys.readouterr().out.splitlines()[-2].split("│")
    assert [cell.strip() for cell in best][4:6] == [f"{table['val/si_sdr_i'][1]:.2f} dB", "2"]


def test_the_bar_reads_the_loss_twice_a_second_and_at_the_end_of_an_epoch(
    tmp_path, tiny_data, tiny_trainer, tiny_system, monkeypatch
):
    reads = []

    def read(self, trainer, pl_module):
        reads.append(trainer.global_step)
        return {"v_num": 1, "loss": 2.0}

    monkeypatch.setattr("pytorch_lightning.callbacks.RichProgressBar.get_metrics", read)
    monkeypatch.setattr("asteroid_stab.callbacks.screen._READ_EVERY_S", 1e9)
    bar = StabProgressBar()
    trainer = tiny_trainer(tmp_path, callbacks=[bar], max_epochs=2, enable_progress_bar=True, limit_val_batches=0)
    trainer.fit(tiny_system(), datamodule=tiny_data())
    assert reads == [1, 4, 8]  # the first step, and the ends of two epochs of four steps
    assert bar.get_metrics(trainer, None)["loss"] == 2.0
