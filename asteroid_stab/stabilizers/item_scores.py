"""Running mean and spread of a score of each item, by stable id."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from asteroid_stab.items import Items
from asteroid_stab.stabilizers.comm import Comm


class ItemScores:
    r"""Keeps the mean and the spread of each item's scores over its visits, earlier ones with less weight if wanted.

    .. math:: \mu = \frac1W \sum_v d^{\,n - v}\, m_v, \qquad \sigma^2 = \frac1W \sum_v d^{\,n - v}\, (m_v - \mu)^2,
              \qquad W = \sum_v d^{\,n - v}

    over the visits v = 1 to n of an item with scores m; d = ``decay``. They are updated in place at each visit, in 13
    bytes an item: 10 million items take 130 MB.

    Call :meth:`begin` before the first visit and :meth:`merge` at the end of each epoch: processes unite what they know
    then. An item that several processes visited in an epoch (a sampler that pads the last batch) has the scores of the
    first of them.

    Args:
        decay: d, above 0, at most 1: the weight of a visit beside the next one. At 1 all visits count alike.

    Attributes:
        table: float32 [N, 3]: visits, mean, and sum of the weighted squares of the distances to it.

    Raises:
        ValueError: ``decay`` is out of its range.
        StabError: a saved state is of other items.

    Example:
        >>> scores = ItemScores()
        >>> scores.begin(Items(4))
        >>> scores.visit(torch.tensor([2, 0]), torch.tensor([5.0, 1.0]))
        >>> scores.visit(torch.tensor([2, 0]), torch.tensor([9.0, float("nan")]))
        >>> scores.lookup(torch.tensor([2, 0, 1]))  # visits, means, spreads
        (tensor([2., 1., 0.]), tensor([7., 1., 0.]), tensor([2., 0., 0.]))

    References:
        The update: West, "Updating mean and variance estimates: an improved method", Communications of the ACM, 1979.
    """

    def __init__(self, decay: float = 1.0):
        if not 0 < decay <= 1:
            raise ValueError(f"decay must be above 0 and at most 1, got {decay}")
        self.decay = float(decay)
        self.table = torch.zeros(0, 3)
        self._visited = torch.zeros(0, dtype=torch.bool)  # by this process since the last merge
        self._fingerprint = ""

    def begin(self, items: Items) -> None:
        """Takes the items; what is known already must be of them."""
        if len(self.table):
            items.check_same(self._fingerprint, len(self.table))
        else:
            self.table, self._visited = torch.zeros(items.n, 3), torch.zeros(items.n, dtype=torch.bool)
        self._fingerprint = items.fingerprint

    def forget(self) -> None:
        """Forgets all scores."""
        self.table.zero_()
        self._visited.zero_()

    def lookup(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the number of visits of items, and mean and spread of their scores; 0 where there are none.

        Shapes:
            ids: [B]; each result: [B] float32.
        """
        self._to(ids.device)
        return self._spread(self.table[ids])

    def all(self) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the number of visits of all items, and mean and spread of their scores, [N] each."""
        return self._spread(self.table)

    def visit(self, ids: Tensor, score: Tensor) -> None:
        """Takes the scores of a step.

        Args:
            ids: [B], each once.
            score: [B]; one that is not finite is no visit.
        """
        self._to(ids.device)
        before = self.table[ids]
        n, mean, squares = before.unbind(1)
        older = self.decay * self._weight(n)
        away = score.detach().to(mean.dtype) - mean
        share = 1 / (older + 1)  # of this visit
        now = torch.stack([n + 1, mean + share * away, self.decay * squares + share * older * away.square()], 1)
        visited = torch.isfinite(score)
        self.table[ids] = torch.where(visited.unsqueeze(1), now, before)
        self._visited[ids] |= visited

    def merge(self, comm: Comm) -> None:
        """Unites what the processes know; every process calls it."""
        if comm.n_ranks > 1:
            order = comm.n_ranks - comm.rank  # the first process has the largest
            claim = torch.where(self._visited, order, 0).to(torch.int32)
            first = comm.reduce_max(claim.clone())
            mine = (first == claim).unsqueeze(1)  # where nobody was, all have the same
            self.table = comm.reduce_max(torch.where(mine, self.table, -torch.inf))
        self._visited.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Returns the table, and which entries are of this process alone."""
        tables = {"table": self.table, "visited": self._visited}
        return {name: t.to("cpu", copy=True) for name, t in tables.items()} | {"fingerprint": self._fingerprint}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes a saved state; :meth:`begin` checks that it is of the items."""
        self.table, self._visited = state["table"].clone(), state["visited"].clone()
        self._fingerprint = state["fingerprint"]

    def _weight(self, n: Tensor) -> Tensor:
        """W, of all visits together."""
        return n if self.decay == 1 else (1 - self.decay**n) / (1 - self.decay)

    def _spread(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n, mean, squares = rows.unbind(1)
        return n, mean, (squares / self._weight(n).clamp_min(torch.finfo(n.dtype).tiny)).sqrt()

    def _to(self, device: torch.device) -> None:
        if self.table.device != device:
            self.table, self._visited = self.table.to(device), self._visited.to(device)
