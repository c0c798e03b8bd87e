"""The one training step: assignment, weight, loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from asteroid.losses import PairwiseNegSDR
from torch import Tensor

from asteroid_stab.engine.loss_system import LossSystem
from asteroid_stab.errors import StabError
from asteroid_stab.losses import Assignment, ExactPITLossWrapper
from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.losses.guard import blanked
from asteroid_stab.losses.matched import matched_neg_sdr
from asteroid_stab.losses.weighting import sum_logits, weighted_mean
from asteroid_stab.stabilizers.base import Stabilizer, Step, StepCallback
from asteroid_stab.stabilizers.sums import EpochSums


class StabSystem(LossSystem):
    """Asteroid's System with a step that callbacks can look into and weigh.

    A batch is ``(mixture [B, T], sources [B, J, T], id [B])``. A training step is
    ``loss_func.assign`` (which estimate belongs to which source), a softmax of the summed logits of all
    :class:`~asteroid_stab.stabilizers.base.Stabilizer` callbacks over the items of all ranks, and the sum of the losses
    under these weights. Without a stabilizer that is Asteroid's own mean.

    Sources whose loss is undefined (silent target) and items that are not finite are left out of the mean, counted and
    logged. A step in which nothing is left moves no weight, on any rank. Accumulated batches are each normalised by
    themselves, so that they are not quite one large batch where items are dropped or weighed.

    The validation always judges with the exact assignment, whatever the training loss: ``val/si_sdr`` and
    ``val/si_sdr_i``, in dB, higher is better; ``val/loss`` is the training loss (with layers, of the last one alone).
    Plateau schedulers watch ``val/si_sdr``.

    Args:
        model: takes ``[B, T]``, gives ``[B, J, T]``.
        optimizer: over the parameters of the model, and of the loss if it has any.
        loss_func: the assignment and its loss; its own parameters, if it has any, are trained and kept in checkpoints.
        train_loader: as in Asteroid; None where a data module is given to ``Trainer.fit``.
        val_loader: likewise; None trains without validation.
        scheduler: as in Asteroid: one or a list, each a scheduler or Lightning's dict.
        config: plain values, kept in the checkpoints.
        seed: random numbers drawn in training (dropout) depend on it, the epoch and the rank alone, so that a
            resumed run draws what an undisturbed one does.

    Raises:
        StabError: the loss is no ``AssignmentLossWrapper``; the model's and the data's number of sources differ; no
            item of a batch on any rank is finite.
    """

    default_monitor = "val/si_sdr"
    losses: tuple[str, ...] = ("loss",)  # names of the means over the items that have each

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
        super().__init__(model, optimizer, loss_func, train_loader, val_loader, scheduler, dict(config or {}))
        self.seed = seed
        self._exact = ExactPITLossWrapper(PairwiseNegSDR("sisdr"))
        self._train_sums, self._val_sums = EpochSums(), EpochSums()
        self._window: list[Tensor] = []  # (mass, finite items, items that are not) of the steps since the last update
        self._window_ids: list[Tensor] = []

    # --- the step ---

    def common_step(self, batch: Any, batch_nb: int, train: bool = True) -> Tensor:
        """This rank's part of the weighted loss, times the number of ranks (DDP averages the gradients)."""
        mixture, sources, _ = batch
        est, broken = self._estimate(mixture, sources)
        return self._learn(batch, est, broken)

    def _learn(
        self,
        batch: Any,
        est: Tensor,
        broken: Tensor,
        complete: Callable[[Tensor], Tensor] = lambda loss: loss,
        figures: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> Tensor:
        """:meth:`common_step` of these estimates, of mixtures of which some are not finite (``broken``, [B]).

        ``complete`` goes from the assignment's losses, [B] or [B, J], which callbacks and the log see, to those that
        are differentiated. ``figures`` are scalars for the log.
        """
        mixture, sources, ids = batch
        assigned = self.loss_func.assign(est, sources, ids=ids)
        loss = assigned.loss.masked_fill(broken.view(-1, *[1] * (assigned.loss.ndim - 1)), torch.inf)
        known = None if assigned.neg_si_sdr is None else loss.detach()
        last = est.detach()[-1] if est.ndim == 4 else est.detach()
        step = Step(mixture, sources, ids, Assignment(loss.detach(), assigned.perm), last, known)
        for callback in self._callbacks(StepCallback):
            callback.on_assignment(self.trainer, self, step)
        logits = sum_logits([s.logits(self.trainer, self, step) for s in self._callbacks(Stabilizer)])
        if logits is None or logits.ndim == 1:
            loss = item_loss(loss)  # no one weighs sources: an item is the mean of its sources
        mean = weighted_mean(complete(loss), logits, self._gather)
        for callback in self._callbacks(StepCallback):
            callback.on_weights(self.trainer, self, step, mean.weights)
        self._count(step.assignment.loss, ids, mean.mass, {**assigned.figures, **figures})
        return mean.value * self.trainer.world_size

    def _estimate(self, mixture: Tensor, sources: Tensor) -> tuple[Tensor, Tensor]:
        """The estimates, and which mixtures ``[B]`` are not finite."""
        mixture, broken = blanked(mixture)
        return self._checked(self._outputs(self(mixture), sources.shape[-2]), sources), broken

    @staticmethod
    def _checked(est: Tensor, sources: Tensor) -> Tensor:
        if est.shape[-2] != sources.shape[-2]:
            raise StabError(
                f"the model gives {est.shape[-2]} estimates (n_src={est.shape[-2]}) but the data have "
                f"{sources.shape[-2]} sources in a mixture"
            )
        return est

    def _outputs(self, est: Tensor, n_src: int) -> Tensor:
        """Those of the model's outputs that stand for ``n_src`` sources: all."""
        return est

    def _callbacks(self, kind: type) -> list[Any]:
        return [callback for callback in self.trainer.callbacks if isinstance(callback, kind)]

    @property
    def _gather(self) -> Callable[[Tensor], Tensor] | None:
        return self.all_gather if self.trainer.world_size > 1 else None

    def training_step(self, batch: Any, batch_nb: int) -> Tensor:
        """The loss that is differentiated."""
        loss = self.common_step(batch, batch_nb, train=True)
        self.log("train/step_loss", loss.detach(), on_step=True, on_epoch=False, prog_bar=True)
        return loss

    def validation_step(self, batch: Any, batch_nb: int) -> None:
        """Judges a batch with the exact assignment."""
        mixture, sources, _ = batch
        est, _ = self._estimate(mixture, sources)
        loss = item_loss(self.loss_func.assign(est, sources).loss)
        est = est[-1] if est.ndim == 4 else est  # of a model with layers, the last one's
        after = item_loss(self._exact.assign(est, sources).loss)
        before = item_loss(matched_neg_sdr(mixture.unsqueeze(1).expand_as(sources), sources))
        judged, scored = torch.isfinite(after) & torch.isfinite(before), torch.isfinite(loss)
        self._val_sums.add(after=after[judged], before=before[judged], items=judged, loss=loss[scored], scored=scored)

    # --- steps in which nothing is left ---

    def _count(
        self, loss: Tensor, ids: Tensor, mass: Tensor, figures: Mapping[str, Tensor], name: str = "loss"
    ) -> None:
        per_item = item_loss(loss)
        finite, broken = torch.isfinite(per_item), torch.isposinf(per_item)
        self._train_sums.add(silent=torch.isnan(loss), nonfinite=broken)
        self._train_sums.add(**{name: torch.where(finite, per_item, 0.0), f"{name}_items": finite})
        counts = torch.stack([finite.sum(), broken.sum()]).to(mass)
        if self._gather is not None:
            counts = self._gather(counts).sum(0)
        self._window.append(torch.cat([mass.detach().reshape(1), counts]))
        self._window_ids.append(ids)
        if figures:
            named = {f"train/{figure}": value for figure, value in figures.items()}
            self._train_sums.add(steps=mass.new_ones(()), **named)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """Steps the optimizer, unless no item of any rank was left: then not even Adam's momentum moves a weight."""
        assert optimizer_closure is not None
        result = optimizer_closure()  # forward and backward; only now are the counts of this step known
        mass, finite, broken = torch.stack(self._window).sum(0).tolist()
        ids = torch.cat(self._window_ids).tolist()
        self._window, self._window_ids = [], []
        if broken and not finite:
            raise StabError(
                "no item of this batch is finite (NaN or infinite audio, or a model that has diverged): "
                + ", ".join(self._names(ids))
            )
        if mass == 0 or (broken and self._gradients_broken()):
            self._train_sums.add(skipped=torch.ones((), device=self.device))
            optimizer.zero_grad()
            return
        optimizer.step(closure=lambda: result)

    def _gradients_broken(self) -> bool:
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            return False  # the scaler looks for itself, at the gradients that it has unscaled
        grads = [p.grad for p in self.parameters() if p.grad is not None]
        return not all(bool(torch.isfinite(g).all()) for g in grads)

    def _names(self, ids: list[int]) -> list[str]:
        dataset = getattr(getattr(self.trainer, "datamodule", None), "train_set", None)
        return [f"item {i}" if dataset is None else dataset.names[i] for i in ids]

    # --- epochs ---

    def on_train_epoch_start(self) -> None:
        """Takes the loss to this epoch, and seeds what training draws, by epoch and rank."""
        super().on_train_epoch_start()
        seed = np.random.SeedSequence((self.seed, self.current_epoch, self.global_rank)).generate_state(1)[0]
        torch.manual_seed(int(seed))
        # What this epoch does not log anew (a loss that is over, no validation) must not stand in the table for ever.
        for name in [name for name in self.trainer.callback_metrics if name.startswith(("train/", "val/"))]:
            del self.trainer.callback_metrics[name]
        self._train_sums.reset()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Logs the epoch's training figures with its last batch, so that every callback finds them afterwards."""
        if not self.trainer.is_last_batch:
            return
        self._train_sums.add(skipped=torch.zeros((), device=self.device))  # so that all ranks have all names
        sums = self._train_sums.total(self._train_sums.names, self._gather)
        for name in self.losses:
            if sums.get(f"{name}_items"):
                self._log_epoch(f"train/{name}", sums[name] / sums[f"{name}_items"])
        self._log_epoch("train/silent_sources", sums["silent"])
        self._log_epoch("train/nonfinite_items", sums["nonfinite"])
        self._log_epoch("train/skipped_steps", sums["skipped"] / self.trainer.world_size)
        for name in [name for name in sums if name.startswith("train/")]:
            self._log_epoch(name, sums[name] / sums["steps"])

    def on_validation_epoch_start(self) -> None:
        """Starts the sums of the validation."""
        self._val_sums.reset()

    def on_validation_epoch_end(self) -> None:
        """Logs the means over the validation set, of all ranks."""
        sums = self._val_sums.total(["loss", "scored", "after", "before", "items"], self._gather)
        if not sums["items"]:
            raise StabError("no item of the validation set has a defined SI-SDR: all are silent or not finite")
        self._log_epoch("val/loss", sums["loss"] / sums["scored"] if sums["scored"] else math.nan)
        self._log_epoch("val/si_sdr", -sums["after"] / sums["items"])
        self._log_epoch("val/si_sdr_i", (sums["before"] - sums["after"]) / sums["items"], prog_bar=True)

    def _log_epoch(self, name: str, value: float, prog_bar: bool = False) -> None:
        self.log(name, value, on_step=False, on_epoch=True, prog_bar=prog_bar)
