"""A training step as it is shown to stabilizers, and the contract of what observes or weighs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.losses.assignment import Assignment, item_loss
from asteroid_stab.losses.lengths import Lengths, on_true_parts
from asteroid_stab.losses.matched import matched_neg_sdr
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers.checks import LateChecks
from asteroid_stab.stabilizers.comm import Comm


class Clock(NamedTuple):
    """The time of a training.

    Attributes:
        epoch: counted from 0.
        step: optimizer steps done before this one.
    """

    epoch: int
    step: int


@dataclass(frozen=True, eq=False)
class Step:
    """One training step of this process after the assignment and before the weighting; it carries no graph.

    Attributes:
        sources: [B, J, T].
        assignment: loss [B, J] or [B], not finite where undefined; perm [B, J], or [K, B, J] where a model gives the
            estimates of K layers, the last one last.
        est: [B, J, T] estimates of the last layer, in the model's order.
        clock: when the step is taken.
        mixture: [B, T]; None where the loop gives none.
        item_ids: [B] int64 stable ids; None where the loop gives none.
        n_ranks: processes that take this step together.
        layers: [K, B, J, T] estimates of all layers, the last one last; None where the model gives no layers.
        lengths: samples of each item that are no padding; None where no item is padded. The losses and metrics are of
            these samples alone.
    """

    sources: Tensor
    assignment: Assignment
    est: Tensor
    clock: Clock
    mixture: Tensor | None = None
    item_ids: Tensor | None = None
    n_ranks: int = 1
    layers: Tensor | None = None
    lengths: Lengths | None = None

    @property
    def ids(self) -> Tensor:
        """[B] int64 stable ids of the items.

        Raises:
            ValueError: the loop gave none.
        """
        if self.item_ids is None:
            raise ValueError(
                "this step has no ids: call the stabilization with ids=, the number of each item; a stabilizer that "
                "goes by names of items sets remembers_items = True"
            )
        return self.item_ids

    @property
    def perm(self) -> Tensor:
        """[B, J] assignment of the last layer."""
        perm = self.assignment.perm
        return perm if perm.ndim == 2 else perm[-1]

    @cached_property
    def source_loss(self) -> Tensor:
        """[B, J] negative SI-SDR of the sources in dB, under the assignment; ``nan`` and ``inf`` as in Assignment."""
        if self.assignment.neg_si_sdr is not None:
            return self.assignment.neg_si_sdr
        with torch.no_grad():
            return on_true_parts(matched_neg_sdr, self.lengths, self.est, self.sources, self.perm)

    @property
    def mixture_as_est(self) -> Tensor:
        """[B, J, T] the mixture as the estimate of every source.

        Raises:
            ValueError: the loop gave no mixture.
        """
        if self.mixture is None:
            raise ValueError("an improvement is over the mixture: call the stabilization with mixture=")
        return self.mixture.unsqueeze(1).expand_as(self.sources)

    @cached_property
    def mixture_loss(self) -> Tensor:
        """[B, J] negative SI-SDR of the mixture in dB, which an improvement is over."""
        with torch.no_grad():
            return on_true_parts(matched_neg_sdr, self.lengths, self.mixture_as_est, self.sources)

    @cached_property
    def source_loss_i(self) -> Tensor:
        """[B, J] negative SI-SDR improvement over the mixture, in dB.

        Raises:
            ValueError: the loop gave no mixture.
        """
        return self.source_loss - self.mixture_loss

    @cached_property
    def si_sdr(self) -> Tensor:
        """[B] SI-SDR of the items in dB, the mean over their defined sources; not finite where there are none."""
        return -item_loss(self.source_loss)

    @cached_property
    def si_sdr_i(self) -> Tensor:
        """[B] SI-SDR improvement of the items over the mixture, in dB."""
        return -item_loss(self.source_loss_i)


class StepObserver(pl.Callback):
    """Watches the assignments of every training step.

    :class:`~asteroid_stab.stabilizers.Stabilization` calls these methods, in any training loop. An observer is a
    Lightning callback as well: its state is in the checkpoints, and it raises where a training never asks it.

    Attributes:
        remembers_items: whether it keeps something of each item by its id, so that an id must be the same mixture in
            every epoch.
        needs_mixture: whether it goes by the mixture, so that a step without one is refused.
        without: the override that trains without it, for messages.
        n_steps: steps that it was asked in since the epoch began.
    """

    remembers_items: bool = False
    needs_mixture: bool = False
    without: str = "stabilizer=[]"
    n_steps: int = 0

    def check(self, plan: RunPlan) -> None:
        """Checks before a file is written that it can work in this run.

        Raises:
            StabError: it cannot; the message names the override that helps.
        """
        if self.remembers_items:
            plan.items.require_stable(type(self).__name__, self.without)

    def neutral(self, plan: RunPlan) -> str | None:
        """Returns why this part changes nothing in a run; None where it does change something, or only watches."""
        return None

    def begin(self, items: Items) -> None:
        """Takes the items of the training set, before the first step; called again after a resume or in a second fit.

        Raises:
            StabError: it remembers other items.
        """

    def begin_epoch(self, clock: Clock) -> None:
        """Starts an epoch."""

    def observe(self, step: Step) -> None:
        """Looks at a step after the assignment; all items are shown, dropped ones included."""

    def weighed(self, step: Step, weights: Tensor) -> None:
        """Looks at a step after the weighting.

        Args:
            step: the step.
            weights: of the losses, [B] or [B, J], detached. They sum to 1 over all processes, or to 0 where nothing
                is left to learn from.
        """

    def end_epoch(self, comm: Comm) -> dict[str, float]:
        """Ends an epoch: merges what the processes know, and returns figures for the log by name.

        Every process calls it, with the same observers in the same order.
        """
        return {}

    def forget(self) -> None:
        """Clears what is remembered of the items: it belongs to another model, which another one replaces now."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks that the training asked it.

        Raises:
            StabError: it did not in this epoch, so that it had no effect.
        """
        if self.n_steps == 0:
            name, module = type(self).__name__, type(pl_module).__name__
            raise StabError(
                f"{name} was not asked in epoch {trainer.current_epoch + 1}, so it has no effect: {module} must train "
                "with asteroid_stab.callbacks.stabilized(self, loss_func) in configure_callbacks() and with the value "
                "that it returns as its loss in training_step(), see the docstring of stabilized()"
            )


class Stabilizer(StepObserver, ABC):
    """Weighs the items of a batch, or their sources; a subclass writes :meth:`logits`.

    Attributes:
        weighs_sources: whether its logits may be of single sources, ``[B, J]``.
    """

    weighs_sources: bool = False

    @abstractmethod
    def logits(self, step: Step) -> Tensor:
        """Returns the logits of the items ``[B]`` or of their sources ``[B, J]``.

        The logits of all stabilizers are summed, and their softmax over the items of all processes is the weight of
        the losses: 0 everywhere is the plain mean, minus infinity drops an item.
        """


def checked_logits(part: Stabilizer, step: Step, checks: LateChecks) -> Tensor:
    """Returns a stabilizer's logits.

    Raises:
        ValueError: they are no tensor of shape [B], or of the shape of the losses; or an item with a loss has a logit
            that is NaN or plus infinity (on a GPU reported at the end of the epoch).
    """
    logits, loss = part.logits(step), step.assignment.loss
    if not isinstance(logits, Tensor) or logits.shape not in (loss.shape, loss.shape[:1]):
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"{type(part).__name__}.logits() must return a tensor of shape {list(loss.shape[:1])} (items) or "
            f"{list(loss.shape)} (losses), got {got}"
        )
    wrong = torch.isnan(logits) | torch.isposinf(logits)
    defined = torch.isfinite(loss)
    if wrong.ndim < defined.ndim:
        defined = defined.any(1)
    checks.refuse(
        wrong & defined,
        f"{type(part).__name__}.logits() must be numbers, or minus infinity to drop an item, got NaN or plus infinity "
        "for an item that has a loss",
    )
    return logits
