"""A memory over epochs and processes: the best assignment of every training item, and its metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.errors import StabError

MAX_N_SRC = 100  # int8 holds indices to 127
_N_RANKS = 2**20  # more than there are


class AssignmentBank:
    """The best metric of every item and the assignment that gave it, by stable id.

    Six bytes an item and one more for each source: 10 million items of two sources take 80 MB.

    During an epoch each process writes to a bank of its own. :meth:`merge` unites them; call it before the next epoch
    and before a checkpoint.

    Args:
        n_items: items of the training set.
        n_src: sources, 1 to 100.
        fingerprint: digest of the corpus; saved tables of another corpus are refused.

    Attributes:
        metric: float32 [N], higher is better; ``-inf`` where there is none yet.
        perm: int8 [N, J]; -1 where there is none yet.
        written: bool [N]: entries that this process wrote since the last :meth:`merge`.

    Raises:
        StabError: there are too many sources.

    Example:
        >>> bank = AssignmentBank(n_items=4, n_src=3, fingerprint="toy")
        >>> ids, perm = torch.tensor([2, 0]), torch.tensor([[1, 2, 0], [0, 1, 2]])
        >>> bank.update(ids, torch.tensor([5.0, float("nan")]), perm)
        >>> bank.update(ids, torch.tensor([4.0, 1.0]), torch.tensor([[0, 1, 2], [2, 1, 0]]))
        >>> bank.lookup(torch.tensor([2, 0, 1]))
        (tensor([5., 1., -inf]), tensor([[ 1,  2,  0],
                [ 2,  1,  0],
                [-1, -1, -1]]))

    References:
        Gao et al., "Improving label assignments learning by dynamic sample dropout combined with layer-wise
        optimization", arXiv 2311.12199: the memory bank.
    """

    def __init__(self, n_items: int, n_src: int, fingerprint: str):
        if not 1 <= n_src <= MAX_N_SRC:
            raise StabError(f"a bank of assignments holds 1 to {MAX_N_SRC} sources, got {n_src}")
        self.fingerprint = fingerprint
        self.metric = torch.full((n_items,), -torch.inf)
        self.perm = torch.full((n_items, n_src), -1, dtype=torch.int8)
        self.written = torch.zeros(n_items, dtype=torch.bool)

    def __len__(self) -> int:
        return len(self.metric)

    def to(self, device: torch.device) -> None:
        """Moves the tables, so that a step copies nothing between devices."""
        if self.metric.device != device:
            self.metric, self.perm = self.metric.to(device), self.perm.to(device)
            self.written = self.written.to(device)

    def reset(self) -> None:
        """Clears all tables."""
        self.metric.fill_(-torch.inf)
        self.perm.fill_(-1)
        self.written.fill_(False)

    def lookup(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the best metric [B] and its assignment [B, J] (int64) of the items."""
        return self.metric[ids], self.perm[ids].long()

    def update(self, ids: Tensor, metric: Tensor, perm: Tensor, switch: Tensor | None = None) -> None:
        """Stores metrics that are strictly better than before, with their assignments; only finite ones.

        Args:
            ids: [B], each once.
            metric: [B], higher is better.
            perm: [B, J].
            switch: [B] items whose assignment is stored even if their metric is not better; the best metric stays.
        """
        finite = torch.isfinite(metric)
        better = finite & (metric > self.metric[ids])
        stored = better if switch is None else better | (finite & switch)
        self.metric[ids] = torch.where(better, metric.to(self.metric.dtype), self.metric[ids])
        self.perm[ids] = torch.where(stored.unsqueeze(1), perm.to(torch.int8), self.perm[ids])
        self.written[ids] |= stored

    def merge(self, reduce_max: Callable[[Tensor], Tensor], rank: int) -> None:
        """Unites the banks of all processes: the best metric of each item, and the assignment that goes with it.

        Where several processes hold the best metric, the assignment is from the first of those that wrote it since
        the last merge (the others have an older one), or from the first of all.

        Args:
            reduce_max: returns the largest entries over all processes, on every process.
            rank: this process.
        """
        best = reduce_max(self.metric.clone())
        # The largest claim is of the first rank; one that wrote the entry is before all that did not.
        claim = torch.where(self.written, _N_RANKS - rank, -rank).to(torch.int32)
        claim = torch.where(self.metric == best, claim, torch.iinfo(torch.int32).min).to(torch.int32)
        mine = reduce_max(claim.clone()) == claim
        mine &= self.metric == best
        self.perm = reduce_max(torch.where(mine.unsqueeze(1), self.perm, -1).to(torch.int8))
        self.metric = best
        self.written.fill_(False)

    def state_dict(self) -> dict[str, Any]:
        """Returns the tables and the fingerprint of the corpus."""
        return {
            "metric": self.metric.to("cpu", copy=True),
            "perm": self.perm.to("cpu", copy=True),
            "written": self.written.to("cpu", copy=True),
            "fingerprint": self.fingerprint,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes saved tables.

        Raises:
            StabError: the tables are for other items, or for another number of sources.
        """
        for name, got, wanted in (
            ("items", len(state["metric"]), len(self)),
            ("sources", state["perm"].shape[1], self.perm.shape[1]),
            ("the corpus' fingerprint", state["fingerprint"], self.fingerprint),
        ):
            if got != wanted:
                raise StabError(f"the bank of assignments was saved with {got} for {name}, this run has {wanted}")
        device = self.metric.device
        self.metric, self.perm = state["metric"].to(device, copy=True), state["perm"].to(device, copy=True)
        if "written" in state:  # earlier versions saved none
            self.written = state["written"].to(device, copy=True)
