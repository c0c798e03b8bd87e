"""WeightTracker's file in one fit and in a resumed one."""

import numpy as np
import torch

from asteroid_stab.callbacks import RunCheckpoint, WeightTracker
from asteroid_stab.run.item_tables import ITEM_WEIGHTS
from asteroid_stab.stabilizers import Stabilizer


class DropThirds(Stabilizer):
    """Drops every third item."""

    remembers_items = True

    def logits(self, step):
        return torch.where(step.ids % 3 == 0, -torch.inf, 0.0)


def test_the_file_has_what_was_dropped_and_a_resumed_training_goes_on_with_it(
    tmp_path, tiny_data, tiny_trainer, tiny_system
):
    def parts():
        return [DropThirds(), WeightTracker(), RunCheckpoint()]

    trainer = tiny_trainer(tmp_path / "whole", callbacks=parts(), max_epochs=3)
    trainer.fit(tiny_system(), datamodule=tiny_data(n_train=18))  # two items an epoch fall to drop_last
    table = ITEM_WEIGHTS.read(tmp_path / "whole" / "item_weights.npy")
    assert table.shape == (18, 3)
    assert table[:, 0].sum() == 3 * 16
    thirds = np.arange(18) % 3 == 0
    assert np.array_equal(table[:, 1], np.where(thirds, table[:, 0], 0))
    assert not table[thirds, 2].any()
    assert (table[~thirds & (table[:, 0] > 0), 2] >= 1).all()
    file = tmp_path / "parts" / "checkpoints" / "last.ckpt"
    for epochs in (1, 3):
        trainer = tiny_trainer(tmp_path / "parts", callbacks=parts(), max_epochs=epochs)
        trainer.fit(
            tiny_system(), datamodule=tiny_data(n_train=18), ckpt_path=file if epochs > 1 else None, weights_only=True
        )
    assert np.array_equal(ITEM_WEIGHTS.read(tmp_path / "parts" / "item_weights.npy"), table)
