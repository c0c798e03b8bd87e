"""How often the stabilizers dropped each item, and how much it weighed, by stable id."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from asteroid_stab.items import Items
from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.stabilizers.base import Step, StepObserver
from asteroid_stab.stabilizers.comm import Comm


class ItemWeights(StepObserver):
    """Counts the visits and the dropped visits of each training item, and sums up its weights; it changes nothing.

    A weight is given beside the weight in the plain mean, which is 1 over the items of all processes: an item that all
    stabilizers leave alone in a batch without other losses weighs 1. An item without a loss has no visit. Where a
    sampler gives an item to two processes to fill the last batch, both visits count.

    Raises:
        StabError: the items have no stable ids, or saved state belongs to other items.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> from asteroid_stab.losses import ExactPITLossWrapper
        >>> from asteroid_stab.stabilizers import LossThreshold, Stabilization
        >>> _ = torch.manual_seed(0)
        >>> sources = torch.randn(3, 2, 80)
        >>> est = sources + torch.tensor([0.01, 3.0, 3.0]).view(3, 1, 1) * torch.randn(3, 2, 80)
        >>> weights = ItemWeights()
        >>> stab = Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr), [LossThreshold(-20.0), weights], items=3)
        >>> stab.begin_epoch(0)
        >>> _ = stab(est, sources, ids=torch.arange(3))  # the first item is separated well enough, and dropped
        >>> _ = stab.end_epoch()
        >>> weights.table  # visits, dropped visits, mean weight
        tensor([[1.0000, 1.0000, 0.0000],
                [1.0000, 0.0000, 1.5000],
                [1.0000, 0.0000, 1.5000]])
    """

    remembers_items = True
    without = "~callbacks.weights"

    def __init__(self) -> None:
        self._sums = torch.zeros(0, 3)  # visits, dropped visits, weights
        self._merged = self._sums.clone()  # at the last merge
        self._fingerprint = ""

    @property
    def table(self) -> Tensor:
        """float32 [N, 3] visits, dropped visits and mean weight of every item, on the CPU; 0 without a visit."""
        visits, dropped, weights = self._sums.cpu().unbind(1)
        return torch.stack([visits, dropped, weights / visits.clamp_min(1)], 1)

    def begin(self, items: Items) -> None:
        if len(self._sums):
            items.check_same(self._fingerprint, len(self._sums))
            return
        self._fingerprint = items.fingerprint
        self._sums = torch.zeros(items.n, 3)
        self._merged = self._sums.clone()

    def forget(self) -> None:
        """Starts again from zero."""
        self._sums, self._merged = torch.zeros_like(self._sums), torch.zeros_like(self._sums)

    def weighed(self, step: Step, weights: Tensor) -> None:
        """Takes the weights of a step."""
        of_items = weights if weights.ndim == 1 else weights.sum(1)
        visited = torch.isfinite(item_loss(step.assignment.loss)).to(self._sums.dtype)
        dropped = visited * (of_items == 0)
        relative = of_items * (len(of_items) * step.n_ranks)
        self._sums, self._merged = self._sums.to(weights.device), self._merged.to(weights.device)
        rows = torch.stack([visited, dropped, relative.to(visited.dtype) * visited], 1)
        self._sums.index_add_(0, step.ids.to(weights.device), rows)

    def end_epoch(self, comm: Comm) -> dict[str, float]:
        """Unites the sums of the processes."""
        if comm.n_ranks > 1:
            self._sums = self._merged + comm.gather(self._sums - self._merged).sum(0)
        self._merged = self._sums.clone()
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Returns the sums."""
        tables = {"sums": self._sums, "merged": self._merged}
        return {"items": self._fingerprint, **{name: t.to("cpu", copy=True) for name, t in tables.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes saved sums, which :meth:`begin` checks once the items are known."""
        self._sums, self._merged = state_dict["sums"].clone(), state_dict["merged"].clone()
        self._fingerprint = state_dict["items"]
