"""The one training step in Asteroid's System: assignment, weight, loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from asteroid.losses import PairwiseNegSDR
from torch import Tensor
from torch.nn import Parameter

from asteroid_stab.callbacks.stabilized import StabilizedTraining, bind, comm_of
from asteroid_stab.data.padding import Batch
from asteroid_stab.engine.step_system import StepSystem
from asteroid_stab.errors import StabError
from asteroid_stab.losses import AssignmentLossWrapper, ExactPITLossWrapper
from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.losses.guard import blanked
from asteroid_stab.losses.lengths import Lengths, on_true_parts
from asteroid_stab.losses.matched import matched_neg_sdr
from asteroid_stab.microphones import reference
from asteroid_stab.models.hosted import HostedModel
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers import Stabilization


class StabSystem(StepSystem):
    """Trains a separator with :class:`~asteroid_stab.stabilizers.Stabilization`, the step of every method here.

    A batch is ``(mixture [B, T], sources [B, J, T], id [B])``; the ids may be absent where nothing remembers items. A
    fourth part is the lengths of padded items, see :class:`~asteroid_stab.data.padding.Batch`; padding is never judged.
    Mixtures of several microphones are ``[B, C, T]``; improvements are measured against the first, the reference.
    The stabilizers are the trainer's callbacks that are ones. Accumulated batches are each normalised on their own, so
    that they are not quite one large batch where items are dropped or weighed.

    The validation always judges with the exact assignment, whichever loss is trained: ``val/si_sdr`` and
    ``val/si_sdr_i``, in dB, higher is better; ``val/loss`` is the training loss (with layers, of the last one alone).
    Plateau schedulers watch ``val/si_sdr``.

    Args:
        model: takes ``[B, T]``, or ``[B, C, T]`` of several microphones, gives ``[B, J, T]``.
        optimizer: over the parameters of the model, and of the loss if it has any.
        loss_func: the assignment and its loss; its own parameters, if it has any, are trained and kept in checkpoints.
        train_loader: as in Asteroid; None where a data module is given to ``Trainer.fit``.
        val_loader: as in Asteroid; None trains without validation.
        scheduler: as in Asteroid: one or a list, each a scheduler or Lightning's dict.
        config: plain values, kept in the checkpoints.
        seed: of the random numbers in training.

    Raises:
        StabError: the loss is no ``AssignmentLossWrapper``; the model's and the data's number of sources differ; no
            item of a batch on any rank is finite.
    """

    default_monitor = "val/si_sdr"

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_func: torch.nn.Module,
        train_loader: Any = None,
        val_loader: Any = None,
        scheduler: Any = None,
        config: Mapping[str, Any] | None = None,
        seed: int = 0,
    ):
        if not isinstance(loss_func, AssignmentLossWrapper):
            raise StabError(
                f"{type(self).__name__} trains with an AssignmentLossWrapper, got {type(loss_func).__name__} (a "
                "pretext task and system=pretext belong together: both or neither, pretext=none system=stab)"
            )
        super().__init__(model, optimizer, loss_func, train_loader, val_loader, scheduler, config, seed)
        self.stab = Stabilization(loss_func, count_switches=False)
        self._exact = ExactPITLossWrapper(PairwiseNegSDR("sisdr"))

    def check(self, plan: RunPlan) -> None:
        super().check(plan)
        if isinstance(self.model, HostedModel):  # the others say nothing until they run
            est, sources = torch.empty(1, self.model.n_src, 1), torch.empty(1, plan.n_src, 1)
            self.checked(self.outputs(est, plan.n_src), sources)
        self.loss_func.check(plan)
        if self.loss_func.remembers_items:
            plan.items.require_stable(type(self.loss_func).__name__, "loss=pit")

    def configure_callbacks(self) -> list[Any]:
        """Binds the stabilization to the trainer."""
        bind(self, StabilizedTraining(self.stab, self.epoch_figures))
        return []

    def idle_parameters(self) -> Iterable[Parameter]:
        """Returns the parameters of the loss that rest in this epoch."""
        return {*self.loss_func.parameters()} - {*self.loss_func.trained_parameters()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the loss to the checkpoint's epoch: the optimizer's state is of what was trained then."""
        super().on_load_checkpoint(checkpoint)
        self.loss_func.set_epoch(checkpoint["epoch"])

    # --- the step ---

    def common_step(self, batch: Any, batch_nb: int, train: bool = True) -> Tensor:
        """Returns this rank's part of the weighted loss, times the number of ranks (DDP averages the gradients)."""
        made = Batch(*batch)
        est, broken = self.estimate(made.mixture, made.sources)
        return self.learn(made, est, broken)

    def learn(
        self,
        batch: Any,
        est: Tensor,
        broken: Tensor,
        complete: Callable[[Tensor], Tensor] | None = None,
        figures: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> Tensor:
        """Returns the loss of these estimates, see :class:`~asteroid_stab.stabilizers.Stabilization`.

        Args:
            batch: mixture, sources and, where there are any, ids and lengths.
            est: estimates of the sources.
            broken: [B] mixtures that are not finite.
            complete: maps the losses of the assignment to the losses that are differentiated.
            figures: scalars for the log.
        """
        mixture, sources, ids, lengths = Batch(*batch)
        loss = self.stab(
            est, sources, mixture, ids, step=self.trainer.global_step,
            broken=broken, complete=complete, figures=figures, lengths=lengths,
        )  # fmt: skip
        assert self.stab.last is not None
        self.note(self.stab.last)
        return loss

    def estimate(self, mixture: Tensor, sources: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the estimates, and which mixtures ``[B]`` are not finite."""
        mixture, broken = blanked(mixture)
        return self.checked(self.outputs(self(mixture), sources.shape[-2]), sources), broken

    @staticmethod
    def checked(est: Tensor, sources: Tensor) -> Tensor:
        """Returns ``est``.

        Raises:
            StabError: there are not as many estimates as sources.
        """
        if est.shape[-2] != sources.shape[-2]:
            raise StabError(
                f"the model gives {est.shape[-2]} estimates (n_src={est.shape[-2]}) but the data have "
                f"{sources.shape[-2]} sources in a mixture"
            )
        return est

    def outputs(self, est: Tensor, n_src: int) -> Tensor:
        """Selects the outputs for the ``n_src`` sources; by default all."""
        return est

    def validation_step(self, batch: Any, batch_nb: int) -> None:
        """Judges a batch with the exact assignment."""
        made = Batch(*batch)
        est, _ = self.estimate(made.mixture, made.sources)
        self.judge(made.mixture, made.sources, est, made.lengths)

    def judge(
        self, mixture: Tensor, sources: Tensor, est: Tensor, lengths: Lengths | None = None
    ) -> tuple[Tensor, Tensor]:
        """Adds estimates to the sums of the validation; returns the last layer's, and the items' negative SI-SDR [B].

        ``lengths`` are of the items without padding.
        """
        loss = item_loss(self.loss_func.assign(est, sources, lengths=lengths).loss)
        scored = torch.isfinite(loss)
        self._val_sums.add(loss=torch.where(scored, loss, 0.0), scored=scored)
        last = est[-1] if est.ndim == 4 else est  # of a model with layers, the last one's
        after = item_loss(self._exact.assign(last, sources, lengths=lengths).loss)
        heard = reference(mixture).unsqueeze(1).expand_as(sources)
        before = item_loss(on_true_parts(matched_neg_sdr, lengths, heard, sources))
        judged = torch.isfinite(after) & torch.isfinite(before) & self.improvable(sources)
        after_judged, before_judged = (torch.where(judged, value, 0.0) for value in (after, before))
        self._val_sums.add(after=after_judged, before=before_judged, items=judged)
        return last, after

    def improvable(self, sources: Tensor) -> Tensor:
        """Returns which items [B] have an SI-SDR improvement that says something; by default all."""
        return torch.ones(len(sources), dtype=torch.bool, device=sources.device)

    def on_validation_epoch_end(self) -> None:
        """Logs the means over the validation set, of all ranks."""
        names = ["loss", "scored", "after", "before", "items"]
        sums = self._val_sums.total(names, comm_of(self.trainer).gather_or_none)
        if not sums["items"]:
            raise StabError("no item of the validation set has a defined SI-SDR: all are silent or not finite")
        self.log_epoch("val/loss", sums["loss"] / sums["scored"] if sums["scored"] else math.nan)
        self.log_epoch("val/si_sdr", -sums["after"] / sums["items"])
        self.log_epoch("val/si_sdr_i", (sums["before"] - sums["after"]) / sums["items"], prog_bar=True)
