"""How often each item has switched its assignment, by stable id."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from asteroid_stab.items import Items
from asteroid_stab.losses.bank import AssignmentBank
from asteroid_stab.stabilizers.comm import Comm


class ItemSwitches:
    """Counts, for each item, the visits with another assignment than the visit before.

    Call :meth:`begin` before the first visit and :meth:`merge` at the end of each epoch: processes unite their counts
    then.

    Attributes:
        last: last assignment of each item; None before the first visit.
        counts: int32 [N] switches of each item, of this process since the last merge and of all before.

    Raises:
        StabError: a saved state is of other items.

    Example:
        >>> switches = ItemSwitches()
        >>> switches.begin(Items(4))
        >>> ids, metric = torch.tensor([2, 0]), torch.zeros(2)
        >>> switches.visit(ids, torch.tensor([[1, 2, 0], [0, 1, 2]]), metric)
        tensor([0, 0], dtype=torch.int32)
        >>> switches.visit(ids, torch.tensor([[2, 0, 1], [0, 1, 2]]), metric)
        tensor([1, 0], dtype=torch.int32)
    """

    def __init__(self) -> None:
        self.last: AssignmentBank | None = None
        self.counts = torch.zeros(0, dtype=torch.int32)
        self._merged = self.counts.clone()  # counts at the last merge
        self._items = Items(1)
        self._saved: dict[str, Any] | None = None

    def begin(self, items: Items) -> None:
        """Takes the items, and opens a saved state, which must be theirs."""
        saved, self._saved = self._saved, None
        if saved is not None:
            self.last = AssignmentBank(items.n, saved["last"]["perm"].shape[1], items.fingerprint)
            self.last.load_state_dict(saved["last"])
            self.counts, self._merged = saved["counts"].clone(), saved["merged"].clone()
        elif self.last is not None:
            items.check_same(self.last.fingerprint, len(self.last))
        self._items = items

    def forget(self) -> None:
        """Forgets all assignments and counts."""
        self.last = None

    def visit(self, ids: Tensor, perm: Tensor, metric: Tensor) -> Tensor:
        """Takes the assignments of a step; returns the counts of its items with it, int32 [B].

        Args:
            ids: [B], each once.
            perm: [B, J].
            metric: [B]; an item whose metric is not finite has no assignment, and is no visit.
        """
        if self.last is None:
            self.last = AssignmentBank(self._items.n, perm.shape[1], self._items.fingerprint)
            self.counts = torch.zeros(self._items.n, dtype=torch.int32, device=perm.device)
            self._merged = self.counts.clone()
        self.last.to(perm.device)
        self.counts, self._merged = self.counts.to(perm.device), self._merged.to(perm.device)
        _, before = self.last.lookup(ids)
        visited = torch.isfinite(metric)
        switched = visited & (before >= 0).all(1) & (before != perm).any(1)
        self.counts[ids] += switched.to(torch.int32)
        self.last.update(ids, metric, perm, torch.ones_like(visited))
        return self.counts[ids]

    def merge(self, comm: Comm) -> None:
        """Unites the counts and assignments of the processes; every process calls it."""
        if self.last is None:
            return
        if comm.n_ranks > 1:
            self.last.merge(comm.reduce_max, comm.rank)
            self.counts = self._merged + comm.gather(self.counts - self._merged).sum(0).to(torch.int32)
        self._merged = self.counts.clone()

    def state_dict(self) -> dict[str, Any] | None:
        """Returns the assignments and counts; None before the first visit."""
        if self.last is None:
            return self._saved
        tables = {"counts": self.counts, "merged": self._merged}
        return {"last": self.last.state_dict(), **{name: t.to("cpu", copy=True) for name, t in tables.items()}}

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Takes a saved state, which :meth:`begin` opens."""
        self.last, self._saved = None, state
