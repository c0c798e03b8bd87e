"""What callbacks see of a training step, and the two kinds of callback that look at it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from asteroid_stab.losses.assignment import Assignment, item_loss
from asteroid_stab.losses.matched import matched_neg_sdr

if TYPE_CHECKING:
    from asteroid_stab.engine.system import StabSystem


@dataclass(frozen=True, eq=False)
class Step:
    """One training step after the assignment and before the weighting; nothing in it carries a graph.

    Attributes:
        mixture: [B, T].
        sources: [B, J, T].
        ids: [B].
        assignment: loss [B, J] or [B], not finite where undefined; perm [B, J], or [K, B, J] where a model gives the
            estimates of K layers, the last one last.
        est: [B, J, T] estimates of the last layer, in the model's order.
        neg_si_sdr: [B, J] where the loss is the negative SI-SDR already, else None.
    """

    mixture: Tensor
    sources: Tensor
    ids: Tensor
    assignment: Assignment
    est: Tensor
    neg_si_sdr: Tensor | None = None

    @property
    def perm(self) -> Tensor:
        """[B, J] assignment of the last layer."""
        perm = self.assignment.perm
        return perm if perm.ndim == 2 else perm[-1]

    @cached_property
    def source_loss(self) -> Tensor:
        """[B, J] negative SI-SDR of the sources in dB, under the assignment; ``nan`` and ``inf`` as in Assignment."""
        if self.neg_si_sdr is not None:
            return self.neg_si_sdr
        with torch.no_grad():
            return matched_neg_sdr(self.est, self.sources, self.perm)

    @cached_property
    def source_loss_i(self) -> Tensor:
        """[B, J] the same less the mixture's: the negative improvement."""
        with torch.no_grad():
            return self.source_loss - matched_neg_sdr(self.mixture.unsqueeze(1).expand_as(self.sources), self.sources)

    @cached_property
    def si_sdr(self) -> Tensor:
        """[B] SI-SDR of the items in dB, the mean over their defined sources; not finite where there are none."""
        return -item_loss(self.source_loss)

    @cached_property
    def si_sdr_i(self) -> Tensor:
        """[B] what the SI-SDR has improved on the mixture's, in dB."""
        return -item_loss(self.source_loss_i)


class StepCallback(pl.Callback):
    """A callback that is shown the assignment of every training step.

    Attributes:
        remembers_items: whether it keeps something of each item by its id, which then must always mean the same.
    """

    remembers_items = False

    def check_items(self, dataset: Any) -> Any:
        """Called with the training set before a run is begun, so that what cannot work is told before anything is made.

        Raises:
            StabError: the callback cannot work on these items.
        """

    def forget(self) -> None:
        """Called where another model takes over within a training: what was remembered of the items is not of it."""

    def on_assignment(self, trainer: pl.Trainer, system: StabSystem, step: Step) -> None:
        """Called in every training step, on every rank, for all items, dropped ones included."""

    def on_weights(self, trainer: pl.Trainer, system: StabSystem, step: Step, weights: Tensor) -> None:
        """Called after it with the weights of the losses, [B] or [B, J], detached.

        They sum to 1 over all ranks, or to 0 where nothing is left.
        """


class Stabilizer(StepCallback):
    """A callback that has a say in the weights of a batch."""

    def logits(self, trainer: pl.Trainer, system: StabSystem, step: Step) -> Tensor:
        """Logits of the items ``[B]`` or of their sources ``[B, J]``.

        The logits of all stabilizers are summed, and their softmax over the items of all ranks is the weight of the
        losses: 0 everywhere is the plain mean, minus infinity drops an item.
        """
        raise NotImplementedError(f"{type(self).__name__} must give logits")
