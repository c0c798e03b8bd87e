"""The assignments of every epoch as files in the run folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytorch_lightning as pl

from asteroid_stab.atomic import write_text
from asteroid_stab.items import Items
from asteroid_stab.run.assignments import write_epoch, write_items
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.stabilizers import SwitchCounter


class AssignmentTracker(SwitchCounter):
    """Counts label switches as :class:`~asteroid_stab.stabilizers.SwitchCounter`, and writes them to the run folder.

    ``switches.csv`` has a row for each epoch and layer. The folder ``assignments`` has ``items.csv`` (id and name, or
    the number where items have no names), ``fingerprint.txt`` (of the corpus) and ``epoch_0000.npy`` and so on (int8
    ``[K, N, J]``, -1 where an item was not seen); epochs count from 0 in these files.

    Args:
        save: whether to write the table of every epoch (N·J bytes each); the counts are always written.

    Raises:
        StabError: the items have no stable ids, or a resumed run has other items than before.
    """

    def __init__(self, save: bool = True):
        super().__init__()
        self.save = save
        self._items: Items | None = None

    def begin(self, items: Items) -> None:
        super().begin(items)
        self._items = items

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes what the ids stand for."""
        if self._items is not None and trainer.is_global_zero and self.save:
            names = self._items.names or map(str, range(self._items.n))
            write_items(Path(trainer.default_root_dir), names, self._items.fingerprint)
            self._items = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the epoch's assignments and the counts so far."""
        super().on_train_epoch_end(trainer, pl_module)
        if trainer.is_global_zero and self.previous is not None:
            table = pd.DataFrame(self.rows)
            write_text(RunLayout(trainer.default_root_dir).switches, table.to_csv(index=False))
            if self.save:
                write_epoch(Path(trainer.default_root_dir), trainer.current_epoch, self.previous.numpy())
