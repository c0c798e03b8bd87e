"""The weights of the training items as a file in the run folder."""

from __future__ import annotations

import pytorch_lightning as pl

from asteroid_stab.run.item_tables import ITEM_WEIGHTS
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.stabilizers import ItemWeights


class WeightTracker(ItemWeights):
    """Keeps the weights as :class:`~asteroid_stab.stabilizers.ItemWeights`, and writes them to the run folder.

    After each epoch ``item_weights.npy`` has visits, dropped visits and mean weight of every item so far (float32
    ``[N, 3]``, 12 bytes an item); ``asteroid-stab weights`` reads it.
    """

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the weights so far."""
        super().on_train_epoch_end(trainer, pl_module)
        if trainer.is_global_zero:
            ITEM_WEIGHTS.write(RunLayout(trainer.default_root_dir).item_weights, self.table.numpy())
