"""What callbacks see of a training step, and the two kinds of callback that look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytorch_lightning as pl
from torch import Tensor

from asteroid_stab.losses.assignment import Assignment

if TYPE_CHECKING:
    from asteroid_stab.engine.system import StabSystem


class Step(NamedTuple):
    """One training step after the assignment and before the weighting; nothing in it carries a graph.

    Shapes:
        - mixture ``[B, T]``, sources ``[B, J, T]``, ids ``[B]``
        - assignment.loss ``[B, J]`` or ``[B]``, not finite where undefined; assignment.perm ``[B, J]``, or
          ``[K, B, J]`` where a model gives the estimates of K layers, the last one last.
    """

    mixture: Tensor
    sources: Tensor
    ids: Tensor
    assignment: Assignment


class StepCallback(pl.Callback):
    """A callback that is shown the assignment of every training step."""

    def on_assignment(self, trainer: pl.Trainer, system: StabSystem, step: Step) -> None:
        """Called in every training step, on every rank, for all items, dropped ones included."""


class Stabilizer(StepCallback):
    """A callback that has a say in the weights of a batch."""

    def logits(self, trainer: pl.Trainer, system: StabSystem, step: Step) -> Tensor:
        """Logits of the items ``[B]`` or of their sources ``[B, J]``.

        The logits of all stabilizers are summed, and their softmax over the items of all ranks is the weight of the
        losses: 0 everywhere is the plain mean, minus infinity drops an item.
        """
        raise NotImplementedError(f"{type(self).__name__} must give logits")
