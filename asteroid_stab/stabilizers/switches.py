"""Label switches: how many items have another assignment than an epoch before."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from asteroid_stab.items import Items
from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.run.assignments import UNSEEN
from asteroid_stab.stabilizers.base import Clock, Step, StepObserver
from asteroid_stab.stabilizers.comm import Comm


class SwitchCounter(StepObserver):
    r"""Keeps the assignment of every training item by its stable id, and counts switches.

    The switch ratio of an epoch is the number of items whose assignment differs from the previous epoch's, over the
    number of items seen in both. It is reported as ``switch_ratio`` (of the last layer) and, where the model gives the
    estimates of K layers, as ``switch_ratio_layer0`` to ``K-1``; it is undefined in the first epoch.

    Assignments stay on the device until the epoch ends, so a step costs one indexed copy and no synchronisation. With
    several processes the tables are merged at the end of the epoch; an item that several processes saw (a sampler that
    pads the last batch) counts with the assignment of the first of them.

    Attributes:
        rows: counts of every epoch and layer so far; ``epoch`` is counted from 0.
        previous: int8 [K, N, J] assignments of the last epoch, -1 where an item was not seen; None before the first.

    Raises:
        StabError: the items have no stable ids, or a resumed training has other items than before.

    References:
        The ratio is the one of Huang et al., arXiv 2010.15366, Fig. 2, and of Gao et al., arXiv 2311.12199; both count
        over all training items from one epoch to the next. Theirs is counted on whole utterances (offline), this one
        on the crops that were trained on.
    """

    remembers_items = True
    without = "~callbacks.tracker"

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.previous: Tensor | None = None
        self._current: Tensor | None = None
        self._fingerprint = ""
        self._n_items = 0
        self._epoch = 0

    def begin(self, items: Items) -> None:
        items.check_same(self._fingerprint, self._n_items or None)
        self._fingerprint, self._n_items = items.fingerprint, items.n

    def forget(self) -> None:
        """Compares the next epoch with none."""
        self.previous = None

    def begin_epoch(self, clock: Clock) -> None:
        self._current, self._epoch = None, clock.epoch

    def observe(self, step: Step) -> None:
        """Keeps the assignments of a batch; items without a loss (silent or not finite) have none."""
        perm, loss = step.assignment.perm, step.assignment.loss
        perm = perm if perm.ndim == 3 else perm.unsqueeze(0)
        if self._current is None:
            n_layers, _, n_src = perm.shape
            self._current = torch.full((n_layers, self._n_items, n_src), UNSEEN, dtype=torch.int8, device=perm.device)
        if len(self._current) != len(perm):
            raise ValueError(
                f"a model must give as many layers in every step of an epoch, got {len(self._current)}, now {len(perm)}"
            )
        if self._current.device != perm.device:  # of a saved state
            self._current = self._current.to(perm.device)
        lost = ~torch.isfinite(item_loss(loss))
        self._current[:, step.ids] = perm.masked_fill(lost[:, None], UNSEEN).to(torch.int8)

    def end_epoch(self, comm: Comm) -> dict[str, float]:
        """Merges the processes' tables and counts."""
        if self._current is None:
            raise ValueError("an epoch must have a step before it ends, got none")
        current = self._current if comm.n_ranks == 1 else _of_first_rank(self._current, comm)
        current = current.cpu()
        same_layers = self.previous is not None and self.previous.shape == current.shape  # one loss may follow another
        rows = count_switches(current, self.previous if same_layers else None)
        self.rows += [{"epoch": self._epoch, **row} for row in rows]
        self.previous, self._current = current, None
        figures = {f"switch_ratio_layer{row['layer']}": row["switch_ratio"] for row in rows} if len(rows) > 1 else {}
        figures["switch_ratio"] = rows[-1]["switch_ratio"]
        return {name: ratio for name, ratio in figures.items() if ratio is not None}

    def state_dict(self) -> dict[str, Any]:
        """Returns the assignments of the last epoch and of the present one, and the counts so far."""
        current = None if self._current is None else self._current.to("cpu", copy=True)
        return {
            "rows": list(self.rows),
            "previous": self.previous,
            "fingerprint": self._fingerprint,
            "current": current,
            "epoch": self._epoch,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a saved state; one of an earlier version has no present epoch.

        Raises:
            ValueError: its assignments are no tables.
        """
        for name in ("previous", "current"):
            table = state_dict.get(name)
            if table is not None and not (isinstance(table, Tensor) and table.ndim == 3):
                raise ValueError(f"the saved assignments {name!r} must be a table [K, N, J], got {table!r}")
        self.rows, self.previous = list(state_dict["rows"]), state_dict["previous"]
        self._fingerprint = state_dict["fingerprint"] or ""
        current = state_dict.get("current")
        table = self.previous if current is None else current
        self._n_items = 0 if table is None else table.shape[1]
        self._current, self._epoch = None if current is None else current.clone(), state_dict.get("epoch", 0)


def _of_first_rank(table: Tensor, comm: Comm) -> Tensor:
    """Merges int8 tables ``[K, N, J]``: each item's entries of the first process that saw it, -1 where none did."""
    order = comm.n_ranks - comm.rank  # the first process has the largest
    saw = (table != UNSEEN).all(-1)
    first = comm.reduce_max(torch.where(saw, order, 0).to(torch.int32))
    mine = saw & (first == order)
    return comm.reduce_max(torch.where(mine.unsqueeze(-1), table, UNSEEN).to(torch.int8))


def count_switches(current: Tensor, previous: Tensor | None) -> list[dict[str, Any]]:
    """Counts per layer: items seen, items seen in both epochs, how many of these switched, and the ratio (or None).

    Args:
        current: assignments of this epoch, int8 ``[K, N, J]``, -1 where not seen.
        previous: assignments of the previous epoch; None for the first.

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
