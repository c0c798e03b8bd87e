"""Hysteresis: every item keeps its last assignment until another one wins by a margin."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.items import Items
from asteroid_stab.losses.assignment import Assignment, best_permutation, item_loss
from asteroid_stab.losses.bank import AssignmentBank
from asteroid_stab.losses.base_wrapper import PairwiseLossWrapper
from asteroid_stab.losses.pairs import PairLoss
from asteroid_stab.losses.pit_wrapper import best_assignment
from asteroid_stab.run.plan import RunPlan

MEMORIES = ("last", "best")


class HysteresisPITLossWrapper(PairwiseLossWrapper):
    r"""The loss under an assignment that is searched with a bonus for the item's remembered one.

    .. math:: \hat\pi = \arg\min_\pi \sum_j \bigl(C_{\pi(j)\,j} - \lambda\,[\pi(j) = \pi^{prev}(j)]\bigr)

    with the costs C of giving estimate i to source j, and λ = ``margin_db``. The bonus acts on the search alone: the
    loss is the plain one of the assignment found. An assignment that gives n sources to other estimates wins if the
    sum of its costs is lower by more than n λ. At λ = 0, the default, this is exact PIT to the bit and nothing is
    remembered; as λ grows, the first assignment of each item becomes a fixed label.

    The memory is by item id across epochs, so ids must be stable (no dynamic mixing). It is written after each
    training step by :class:`~asteroid_stab.stabilizers.Stabilization`, with the items that a stabilizer dropped
    among them; another loop calls :meth:`bind` and :meth:`remember` itself. An item that is visited for the first time
    gets the best assignment. A source without a loss (silent in this crop) has no bonus, and its memory stays. Each
    layer of a model with layers has a memory of its own. In evaluation mode the assignment is the exact one.

    The loss is [B, J]. Figure, with λ > 0 in training: ``held``, share of items whose assignment is not the best one
    because of their memory.

    The method is ours, a soft cousin of fixed labels. That matchings should stay stable during training is the subject
    of the paper below, on matchings between the layers of a detector; its remedy is another one.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``; lower is better.
        margin_db: λ, at least 0, for each source; in dB for SDR losses, else in the unit of ``loss_func``.
        memory: ``last``: the assignment of the item's last visit; ``best``: of the visit with its lowest loss.
        pit_from: ``pw_mtx`` or ``pw_pt``, see ``PITLossWrapper``.

    Raises:
        ValueError: an argument is out of its range; in training, ids are missing, or the loss was never bound.
        StabError: the items have no stable ids, a saved memory is of other items, or there are too many sources.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> from asteroid_stab.items import Items
        >>> loss_func = HysteresisPITLossWrapper(pairwise_neg_sisdr, margin_db=50.0)
        >>> loss_func.bind(Items(1))
        >>> targets, ids = torch.eye(3, 9).unsqueeze(0), torch.tensor([0])
        >>> noise = 0.1 * torch.linspace(-1, 1, 9)
        >>> loss_func.remember(ids, loss_func.assign(targets[:, [2, 0, 1]] + noise, targets, ids))
        >>> loss_func.assign(targets + noise, targets, ids).perm  # the best would be 0, 1, 2
        tensor([[1, 2, 0]])

    References:
        Liu et al., "Detection transformer with stable matching", ICCV 2023, arXiv 2304.04742: the problem.
    """

    def __init__(
        self,
        loss_func: Callable[..., Tensor],
        margin_db: float = 0.0,
        memory: str = "last",
        pit_from: str = "pw_mtx",
    ):
        super().__init__(loss_func, pit_from)
        if not 0 <= margin_db < math.inf:
            raise ValueError(
                f"margin_db must be a number of at least 0, got {margin_db} (loss=fixed keeps assignments for ever)"
            )
        if memory not in MEMORIES:
            raise ValueError(f"memory must be one of {', '.join(MEMORIES)}, got {memory!r}")
        self.margin_db, self.memory = float(margin_db), memory
        self.banks: dict[int, AssignmentBank] = {}  # by layer, the last one -1
        self._layer = -1
        self._items: Items | None = None
        self._saved: dict[int, dict[str, Any]] = {}  # until the items are known

    @property
    def remembers_items(self) -> bool:
        """True with a margin."""
        return self.margin_db > 0

    def check(self, plan: RunPlan) -> None:
        """Checks that there are not too many sources for the memory."""
        if self.remembers_items:
            AssignmentBank(1, plan.n_src, "")

    def neutral(self, plan: RunPlan) -> str | None:
        """Returns which setting leaves the best assignment alone."""
        if not self.remembers_items:
            return "margin_db=0 is plain PIT (loss.margin_db=1.0, say, keeps assignments that are nearly the best)"
        return "with one source there is one assignment" if plan.n_src == 1 else None

    def bind(self, items: Items) -> None:
        """Takes the training items, and opens a saved memory, which must be theirs."""
        for bank in self.banks.values():
            items.check_same(bank.fingerprint, len(bank))
        self._items, saved, self._saved = items, self._saved, {}
        for layer, state in saved.items():
            bank = AssignmentBank(items.n, state["perm"].shape[1], items.fingerprint)
            bank.load_state_dict(state)
            self.banks[layer] = bank

    def set_layer(self, layer: int) -> None:
        """Sets the layer whose memory is asked."""
        self._layer = layer

    def remember(self, ids: Tensor, assigned: Assignment) -> None:
        """Takes the assignments of a step into memory; sources without a loss leave theirs as it is."""
        if self._items is None:
            raise ValueError(f"{type(self).__name__} must be bound to the training items first: bind(Items(N))")
        perms = assigned.perm if assigned.perm.ndim == 3 else assigned.perm.unsqueeze(0)
        metric = -item_loss(assigned.loss.detach())
        defined = torch.isfinite(assigned.loss)
        defined = defined if defined.ndim == 2 else defined.unsqueeze(1)
        for layer, perm in enumerate(perms, start=-len(perms)):
            if layer not in self.banks:
                self.banks[layer] = AssignmentBank(self._items.n, perm.shape[1], self._items.fingerprint)
            before = self._kept(self.banks[layer], ids, perm)
            now = torch.where(defined, perm, before)
            always = torch.ones_like(ids, dtype=torch.bool) if self.memory == "last" else None
            self.banks[layer].update(ids, metric.to(torch.float32), now, always)

    def merge(self, reduce_max: Callable[[Tensor], Tensor], rank: int) -> None:
        """Unites the memories of the processes, see :meth:`AssignmentBank.merge`."""
        for layer in sorted(self.banks):
            self.banks[layer].merge(reduce_max, rank)

    def forget(self) -> None:
        """Clears the memory."""
        self.banks, self._saved = {}, {}

    def get_extra_state(self) -> dict[str, Any]:
        """Returns the memory, for checkpoints."""
        return {"banks": self._saved or {layer: bank.state_dict() for layer, bank in self.banks.items()}}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Takes a saved memory, which :meth:`bind` opens where the items are not known yet."""
        self.banks, self._saved = {}, dict(state["banks"])
        if self._items is not None:
            self.bind(self._items)

    def _assign(self, est_targets: Tensor, targets: Tensor, pair_loss: PairLoss, ids: Tensor | None) -> Assignment:
        if not (self.training and self.remembers_items):
            return best_assignment(est_targets, targets, pair_loss)
        name = type(self).__name__
        if ids is None:
            raise ValueError(f"{name} goes by item: assign() needs ids in training, got None (eval() assigns exactly)")
        if self._items is None:
            raise ValueError(
                f"{name} remembers items and was never bound to them: train with Stabilization(loss, items=N), or "
                "call bind(Items(N)) before training and remember() after each step"
            )
        kept = self._kept(self.banks.get(self._layer), ids, targets)
        found: dict[str, Tensor] = {}

        def search(costs: Tensor) -> Tensor:
            best = best_permutation(costs)
            same = torch.arange(costs.shape[1], device=costs.device).view(1, -1, 1) == kept.unsqueeze(1)
            perm = best_permutation(costs - self.margin_db * same)  # C - λ [i = π_prev(j)]
            found["held"] = (perm != best).any(1).sum() / max(1, len(perm))
            return perm

        assigned = best_assignment(est_targets, targets, pair_loss, search=search)
        return Assignment(assigned.loss, assigned.perm, found, assigned.neg_si_sdr)

    @staticmethod
    def _kept(bank: AssignmentBank | None, ids: Tensor, like: Tensor) -> Tensor:
        """The remembered assignments [B, J] of items, -1 where there are none."""
        n_src = like.shape[1]
        if bank is None:
            return torch.full((len(ids), n_src), -1, device=like.device)
        if bank.perm.shape[1] != n_src:
            raise ValueError(f"the memory is of {bank.perm.shape[1]} sources, got {n_src}")
        bank.to(like.device)
        return bank.lookup(ids)[1]
