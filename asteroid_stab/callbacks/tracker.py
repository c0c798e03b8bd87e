"""Which estimate every training item was assigned to, this epoch and the last, and how often that changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor

from asteroid_stab.atomic import write_text
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.run.assignments import UNSEEN, write_epoch, write_items
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.stabilizers.base import Step, StepCallback
from asteroid_stab.stabilizers.items import stable_items, training_set


class AssignmentTracker(StepCallback):
    r"""Records the assignment of every training item by its stable id, and counts switches.

    The switch ratio of an epoch is the number of items whose assignment differs from that of the previous epoch, over
    the number of items seen in both. It is logged as ``train/switch_ratio`` (of the last layer) and, where the model
    gives the estimates of K layers, as ``train/switch_ratio_layer0`` to ``K-1``; it is undefined in the first epoch.

    In the run folder it keeps ``switches.csv`` (a row an epoch and layer) and, in ``assignments``, ``items.csv`` (id
    and name), ``fingerprint.txt`` (of the corpus) and ``epoch_0000.npy`` and so on (int8 ``[K, N, J]``, -1 where an
    item was not seen).

    Assignments stay on the device until the epoch ends, so a step pays one indexed copy and no synchronisation. With
    several ranks each item is visited by one of them; the tables are merged at the end of the epoch, before the
    checkpoint is written.

    Args:
        save: whether to write the table of every epoch (N·J bytes each); the counts are always written.

    Raises:
        StabError: the data give no stable ids, or a resumed run has other items than before.

    References:
        The ratio is that of Huang et al., arXiv 2010.15366, Fig. 2, and of Gao et al., arXiv 2311.12199; both count
        over all training items from one epoch to the next. Theirs is counted on whole utterances (offline), this one
        on the crops that were trained on.
    """

    remembers_items = True

    def __init__(self, save: bool = True):
        self.save = save
        self.rows: list[dict[str, Any]] = []
        self.previous: Tensor | None = None  # [K, N, J] of the last epoch
        self._current: Tensor | None = None
        self._fingerprint: str | None = None
        self._n_items = 0

    def check_items(self, dataset: Any) -> MixtureDataset:
        """The items, whose ids must mean the same in every epoch."""
        return stable_items(dataset, "AssignmentTracker", "~callbacks.tracker")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks that ids mean the same items in every epoch, and the same as before a resume."""
        items = self.check_items(training_set(trainer))
        if self._fingerprint is not None:
            items.check_same(self._fingerprint)
        self._fingerprint, self._n_items = items.fingerprint, len(items)
        if trainer.is_global_zero and self.save:
            write_items(Path(trainer.default_root_dir), items.names, items.fingerprint)

    def forget(self) -> None:
        """The next epoch is compared with none."""
        self.previous = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets the epoch before the last."""
        self._current = None

    def on_assignment(self, trainer: pl.Trainer, system: Any, step: Step) -> None:
        """Notes the assignments of a batch; items that have no loss (silent or not finite) have none."""
        perm, loss = step.assignment.perm, step.assignment.loss
        perm = perm if perm.ndim == 3 else perm.unsqueeze(0)
        if self._current is None:
            n_layers, _, n_src = perm.shape
            self._current = torch.full((n_layers, self._n_items, n_src), UNSEEN, dtype=torch.int8, device=perm.device)
        lost = ~torch.isfinite(item_loss(loss))
        self._current[:, step.ids] = perm.masked_fill(lost[:, None], UNSEEN).to(torch.int8)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Merges the ranks, counts, logs and writes."""
        assert self._current is not None, "an epoch without a step"
        current = self._current
        if trainer.world_size > 1:
            current = trainer.strategy.reduce(current, reduce_op="max")  # each item is seen by one rank, -1 elsewhere
        current = current.cpu()
        rows = count_switches(current, self.previous)
        for row in rows:
            self.rows.append({"epoch": trainer.current_epoch, **row})
            if row["n_compared"] and len(rows) > 1:
                pl_module.log(f"train/switch_ratio_layer{row['layer']}", row["switch_ratio"])
        if rows[-1]["n_compared"]:
            pl_module.log("train/switch_ratio", rows[-1]["switch_ratio"], prog_bar=True)
        self.previous, self._current = current, None
        if trainer.is_global_zero:
            table = pd.DataFrame(self.rows)
            write_text(RunLayout(trainer.default_root_dir).switches, table.to_csv(index=False))
            if self.save:
                write_epoch(Path(trainer.default_root_dir), trainer.current_epoch, current.numpy())

    def state_dict(self) -> dict[str, Any]:
        """The last epoch's assignments and the counts so far."""
        return {"rows": list(self.rows), "previous": self.previous, "fingerprint": self._fingerprint}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint's."""
        self.rows, self.previous = state_dict["rows"], state_dict["previous"]
        self._fingerprint = state_dict["fingerprint"]


def count_switches(current: Tensor, previous: Tensor | None) -> list[dict[str, Any]]:
    """Per layer: items seen, items seen in both epochs, how many of these switched, and their ratio (None if none).

    Args:
        current: assignments of this epoch, int8 ``[K, N, J]``, -1 where not seen.
        previous: those of the previous epoch; None for the first.

    Example:
        >>> a = torch.tensor([[[0, 1, 2], [2, 0, 1], [-1, -1, -1]]], dtype=torch.int8)
        >>> b = torch.tensor([[[0, 1, 2], [1, 2, 0], [0, 2, 1]]], dtype=torch.int8)
        >>> count_switches(b, a)
        [{'layer': 0, 'n_seen': 3, 'n_compared': 2, 'n_switched': 1, 'switch_ratio': 0.5}]
    """
    rows = []
    for layer, table in enumerate(current):
        seen = (table >= 0).all(-1)
        row: dict[str, Any] = {"layer": layer, "n_seen": int(seen.sum())}
        both = torch.zeros_like(seen) if previous is None else seen & (previous[layer] >= 0).all(-1)
        switched = torch.zeros_like(seen) if previous is None else both & (table != previous[layer]).any(-1)
        n_both, n_switched = int(both.sum()), int(switched.sum())
        ratio = n_switched / n_both if n_both else None
        rows.append({**row, "n_compared": n_both, "n_switched": n_switched, "switch_ratio": ratio})
    return rows
