"""DataMapTracker's file against a slow record of every step, in one fit and in a resumed one."""

import math

import numpy as np
import pytest

from asteroid_stab.callbacks import DataMapTracker, RunCheckpoint
from asteroid_stab.run.item_tables import DATA_MAP
from asteroid_stab.stabilizers import StepObserver


class Record(StepObserver):
    """Metrics of every item."""

    def __init__(self):
        self.metrics = {}

    def observe(self, step):
        for item, metric in zip(step.ids.tolist(), step.si_sdr.tolist(), strict=True):
            if math.isfinite(metric):
                self.metrics.setdefault(item, []).append(metric)


def test_the_file_is_the_map_and_a_resumed_training_goes_on_with_it(tmp_path, tiny_data, tiny_trainer, tiny_system):
    record = Record()
    trainer = tiny_trainer(tmp_path / "whole", callbacks=[DataMapTracker(), record], max_epochs=3)
    trainer.fit(tiny_system(), datamodule=tiny_data(n_train=18))  # two items an epoch fall to drop_last
    table = np.load(tmp_path / "whole" / "data_map.npy")
    assert table.dtype == np.float32
    assert table.shape == (18, 4)
    for item, row in enumerate(table.tolist()):
        own = record.metrics.get(item, [])
        assert row[:3] == pytest.approx([len(own), np.mean(own), np.std(own)] if own else [0, 0, 0], rel=1e-3, abs=1e-3)
    assert np.array_equal(DATA_MAP.read(tmp_path / "whole" / "data_map.npy"), table)
    assert trainer.callback_metrics["train/item_spread"] == pytest.approx(table[table[:, 0] > 0, 2].mean())

    for epochs in (1, 3):
        trainer = tiny_trainer(tmp_path / "parts", callbacks=[DataMapTracker(), RunCheckpoint()], max_epochs=epochs)
        file = tmp_path / "parts" / "checkpoints" / "last.ckpt"
        trainer.fit(
            tiny_system(), datamodule=tiny_data(n_train=18), ckpt_path=file if epochs > 1 else None, weights_only=True
        )
    assert np.array_equal(np.load(tmp_path / "parts" / "data_map.npy"), table)
