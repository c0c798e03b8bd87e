"""Fixed labels: every item keeps the assignment it was given."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.errors import StabError
from asteroid_stab.losses.assignment import Assignment, reorder
from asteroid_stab.losses.base_wrapper import PairwiseLossWrapper
from asteroid_stab.losses.guard import finite_or_zero
from asteroid_stab.losses.pairs import best_order, losses_in_order, sdr_options
from asteroid_stab.losses.pairwise import SI_SDR
from asteroid_stab.run.assignments import UNSEEN, read_labels


class FixedPITLossWrapper(PairwiseLossWrapper):
    """The loss under assignments that do not change: those that another run ended with, or the order given.

    With ``run`` this is the middle section of cascaded PIT: labels by item id, as PIT chose them at the end of an
    earlier run on the same corpus. Items without a label (never seen by that run), and all items in evaluation mode,
    whose ids are not those of the training set, get the best assignment. They are read when the training begins, and
    kept in its checkpoints. Without ``run`` estimate j is for source j, in training and evaluation.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``; lower is better.
        run: run folder with the tables of ``AssignmentTracker``; None: the order given.
        epoch: whose labels, counted from 0; None: the last epoch's.
        pit_from: ``pw_mtx`` or ``pw_pt``, see ``PITLossWrapper``.

    Raises:
        StabError: (at the first use) ``run`` holds no such table.
        ValueError: an epoch without a run.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> loss_func = FixedPITLossWrapper(pairwise_neg_sisdr)
        >>> targets = torch.eye(3, 9).unsqueeze(0)
        >>> loss_func.assign(targets[:, [2, 0, 1]], targets).perm  # the best would be 1, 2, 0
        tensor([[0, 1, 2]])

    References:
        Yang et al., "Interrupted and cascaded permutation invariant training for speech separation", ICASSP 2020,
        arXiv 1910.12706.
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
            raise ValueError(f"an epoch needs the run whose it is, got epoch={epoch} without run")
        self.run, self.epoch, self._fingerprint = run, epoch, ""
        self.register_buffer("labels", None, persistent=False)  # get_extra_state() has them
        self._figures: dict[str, Tensor] = {}

    def read(self) -> None:
        """Reads the labels of the run, unless a checkpoint has brought them.

        Raises:
            StabError: the run has none.
        """
        if self.run is not None and self.labels is None:
            table, self._fingerprint = read_labels(Path(self.run), self.epoch)
            self.labels = torch.from_numpy(table)

    def get_extra_state(self) -> dict[str, Any]:
        """The labels, for checkpoints: those of a run that goes on may be others by then, or gone."""
        return {"labels": None if self.labels is None else self.labels.cpu(), "fingerprint": self._fingerprint}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Takes a checkpoint's labels."""
        self.labels, self._fingerprint = state["labels"], state["fingerprint"]

    def check(self, plan: Any) -> None:
        """Reads the labels, unless a checkpoint will bring them; refuses those of another number of sources."""
        if not resumed:
            self.read()
        if self.labels is not None and self.labels.shape[1] != n_src:
            raise StabError(f"the labels of {self.run} are for {self.labels.shape[1]} sources, got {n_src}")

    @property
    def is_neg_si_sdr(self) -> bool:
        """Whether that is what ``loss_func`` is."""
        return sdr_options(self.loss_func, self.pit_from) == SI_SDR

    @property
    def remembers_items(self) -> bool:
        """True with the labels of a run."""
        return self.run is not None

    def bind(self, items: Any) -> None:
        """Refuses a corpus that the labels were not made on.

        Raises:
            StabError: its items are others.
        """
        self.read()
        assert self.labels is not None, "bind() is for losses that remember items"
        if items.fingerprint != self._fingerprint or len(items) != len(self.labels):
            raise StabError(
                f"the labels of {self.run} are of {len(self.labels)} items with fingerprint {self._fingerprint}, the "
                f"training set has {len(items)} with fingerprint {items.fingerprint}: train on the same corpus"
            )

    def figures(self) -> dict[str, Tensor]:
        """``unlabelled``: share of items without a label."""
        return self._figures

    def assign(
        self,
        est_targets: Tensor,
        targets: Tensor,
        reduce_kwargs: dict[str, Any] | None = None,
        ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Assignment:
        """Each source's loss under the item's label, and the label.

        Args:
            est_targets: estimates.
            targets: targets.
            reduce_kwargs: not used.
            ids: ids of the items; needed in training mode where the labels are a run's.
            **kwargs: keyword arguments of ``loss_func``.

        Shapes:
            est_targets: [B, J, ...]; targets: [B, J, ...]; ids: [B]; loss: [B, J]; perm: [B, J].

        Raises:
            ValueError: the shapes do not fit, there are no ids, or the labels are for another number of sources.
        """
        self._check(est_targets, targets, reduce_kwargs)
        perm = self._perm(est_targets, targets, ids, kwargs)
        return Assignment(
            losses_in_order(self.loss_func, self.pit_from, reorder(est_targets, perm), targets, kwargs), perm
        )

    def _perm(self, est_targets: Tensor, targets: Tensor, ids: Tensor | None, kwargs: dict[str, Any]) -> Tensor:
        n_items, n_src = targets.shape[:2]
        if self.run is None:
            return torch.arange(n_src, device=targets.device).expand(n_items, n_src).contiguous()
        self.read()
        assert self.labels is not None
        if self.training and ids is None:
            raise ValueError(f"the labels of {self.run} go by item: assign() needs ids, got None")
        if self.labels.shape[1] != n_src:
            raise ValueError(f"the labels of {self.run} are for {self.labels.shape[1]} sources, got {n_src}")
        unlabelled = torch.ones(n_items, 1, dtype=torch.bool, device=targets.device)
        label = torch.zeros(n_items, n_src, dtype=torch.long, device=targets.device)
        if self.training:
            if self.labels.device != targets.device:
                self.labels = self.labels.to(targets.device)
            label = self.labels[ids]
            unlabelled = (label == UNSEEN).any(1, keepdim=True)
            self._figures = {"unlabelled": unlabelled.float().mean()}
            if not unlabelled.any():
                return label
        est, tgt, _ = finite_or_zero(est_targets, targets)
        return torch.where(unlabelled, best_order(self.loss_func, self.pit_from, est, tgt, kwargs), label)
