"""Fixed labels: every item keeps the assignment of another run, or the order given."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.losses.assignment import Assignment, reorder
from asteroid_stab.losses.base_wrapper import PairwiseLossWrapper
from asteroid_stab.losses.guard import finite_or_zero
from asteroid_stab.losses.pairs import PairLoss
from asteroid_stab.run.assignments import UNSEEN, read_labels
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.transfer import readable


class FixedPITLossWrapper(PairwiseLossWrapper):
    """The loss under assignments that do not change: the last ones of another run, or the order given.

    With ``run`` this is the middle section of cascaded PIT: labels by item id, as PIT chose them at the end of an
    earlier run on the same corpus. The labels are read when the training begins, and kept in its checkpoints. Items
    without a label (never seen by that run) get the best assignment, and so do all items in evaluation mode, whose ids
    are not ids of the training set. Without ``run`` estimate j is for source j, in training and evaluation.

    The loss is [B, J]; the permutation is the label. Figure, with ``run``, in training: ``unlabelled``, share of items
    without a label.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``; lower is better.
        run: run folder with the tables of ``AssignmentTracker``; None: the order given.
        epoch: epoch of the labels, counted from 0; None: the last one.
        pit_from: ``pw_mtx`` or ``pw_pt``, see ``PITLossWrapper``.

    Raises:
        StabError: (at the first use) ``run`` holds no such table.
        ValueError: ``epoch`` is given without ``run``.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> loss_func = FixedPITLossWrapper(pairwise_neg_sisdr)
        >>> targets = torch.eye(3, 9).unsqueeze(0)
        >>> loss_func.assign(targets[:, [2, 0, 1]], targets).perm  # the best would be 1, 2, 0
        tensor([[0, 1, 2]])

    References:
        Yang, Wu, Mao, Lee, Lee, "Interrupted and cascaded permutation invariant training for speech separation", ICASSP
        2020, arXiv 1910.12706.
    """

    labels: Tensor | None

    def __init__(
        self,
        loss_func: Callable[..., Tensor],
        run: str | os.PathLike[str] | None = None,
        epoch: int | None = None,
        pit_from: str = "pw_mtx",
    ):
        super().__init__(loss_func, pit_from)
        if run is None and epoch is not None:
            raise ValueError(f"epoch is the epoch of a run, set run as well: got epoch={epoch} without run")
        self.run, self.epoch, self._fingerprint = run, epoch, ""
        self.register_buffer("labels", None, persistent=False)  # get_extra_state() has them
        self._all_known = False

    def read(self) -> None:
        """Reads the labels of the run, unless they are there or a checkpoint has brought them.

        Raises:
            StabError: the run has none.
        """
        if self.run is not None and self.labels is None:
            table, fingerprint = read_labels(Path(self.run), self.epoch)
            self._take(torch.from_numpy(table), fingerprint)

    def _take(self, labels: Tensor | None, fingerprint: str) -> None:
        self.labels, self._fingerprint = labels, fingerprint
        self._all_known = labels is not None and not bool((labels == UNSEEN).any())

    def get_extra_state(self) -> dict[str, Any]:
        """Returns the labels, for checkpoints: a run that goes on may have changed or removed its tables by then."""
        return {"labels": None if self.labels is None else self.labels.cpu(), "fingerprint": self._fingerprint}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Takes the labels of a checkpoint."""
        self._take(state["labels"], state["fingerprint"])

    def check(self, plan: RunPlan) -> None:
        """Reads the labels, unless a checkpoint will bring them, and checks their number of sources."""
        if not plan.resumed:
            self.read()
        if self.labels is not None and self.labels.shape[1] != plan.n_src:
            raise StabError(f"the labels of {self.run} are for {self.labels.shape[1]} sources, got {plan.n_src}")

    @property
    def remembers_items(self) -> bool:
        """True with the labels of a run."""
        return self.run is not None

    @property
    def fixed_labels(self) -> bool:
        """True once the labels are known, unless an item has none and is assigned in each step."""
        return self.run is None or self._all_known

    def bind(self, items: Items) -> None:
        """Checks that the labels were made on these items."""
        self.read()
        if self.labels is None:
            return
        known = bool(items.fingerprint and self._fingerprint)  # an empty fingerprint is not compared
        if len(items) != len(self.labels) or (known and items.fingerprint != self._fingerprint):
            raise StabError(
                f"the labels of {self.run} are of {len(self.labels)} items with fingerprint {self._fingerprint}, the "
                f"training set has {len(items)} with fingerprint {items.fingerprint}: train on the same corpus"
            )

    def _assign(self, est_targets: Tensor, targets: Tensor, pair_loss: PairLoss, ids: Tensor | None) -> Assignment:
        perm, figures = self._labels(est_targets, targets, pair_loss, ids)
        loss = pair_loss.in_order(reorder(est_targets, perm), targets)
        return Assignment(loss, perm, figures, loss.detach() if pair_loss.is_neg_si_sdr else None)

    def _labels(
        self, est_targets: Tensor, targets: Tensor, pair_loss: PairLoss, ids: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        n_items, n_src = targets.shape[:2]
        if self.run is None:
            return torch.arange(n_src, device=targets.device).expand(n_items, n_src).contiguous(), {}
        self.read()
        assert self.labels is not None
        if self.training and ids is None:
            raise ValueError(f"the labels of {self.run} go by item: assign() needs ids, got None")
        if self.labels.shape[1] != n_src:
            raise ValueError(f"the labels of {self.run} are for {self.labels.shape[1]} sources, got {n_src}")
        figures: dict[str, Tensor] = {}
        unlabelled = torch.ones(n_items, 1, dtype=torch.bool, device=targets.device)
        label = torch.zeros(n_items, n_src, dtype=torch.long, device=targets.device)
        if self.training:
            if self.labels.device != targets.device:
                self.labels = self.labels.to(targets.device)
            label = self.labels[ids].long()  # the table keeps its small integers
            unlabelled = (label == UNSEEN).any(1, keepdim=True)
            figures["unlabelled"] = unlabelled.float().mean()
            if self._all_known or (readable(unlabelled) and not unlabelled.any()):
                return label, figures
        est, tgt, _ = finite_or_zero(est_targets, targets)
        return torch.where(unlabelled, pair_loss.best_order(est, tgt), label), figures
