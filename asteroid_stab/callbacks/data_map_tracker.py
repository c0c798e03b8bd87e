"""The data map of the training items as a file in the run folder."""

from __future__ import annotations

import pytorch_lightning as pl

from asteroid_stab.run.item_tables import DATA_MAP
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.stabilizers import DataMap


class DataMapTracker(DataMap):
    """Keeps the data map as :class:`~asteroid_stab.stabilizers.DataMap`, and writes it to the run folder.

    After each epoch ``data_map.npy`` has visits, mean, spread and switches of every item so far (float32 ``[N, 4]``, 16
    bytes an item); the report draws it.

    Args:
        metric: see :class:`~asteroid_stab.stabilizers.DataMap`.
        decay: weight of a visit beside the next one, see :class:`~asteroid_stab.stabilizers.ItemScores`.
    """

    def __init__(self, metric: str = "si_sdr", decay: float = 1.0):
        super().__init__(metric, decay)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the map so far."""
        super().on_train_epoch_end(trainer, pl_module)
        if trainer.is_global_zero:
            DATA_MAP.write(RunLayout(trainer.default_root_dir).data_map, self.table.numpy())
