"""The training step of a network that refines: a slot for the noise, iterations that cost, remixed batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asteroid_stab.callbacks.stabilized import comm_of
from asteroid_stab.data.padding import Batch
from asteroid_stab.engine.audible import audible
from asteroid_stab.engine.remix import remix
from asteroid_stab.engine.system import StabSystem
from asteroid_stab.errors import StabError
from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.losses.guard import blanked
from asteroid_stab.losses.lengths import on_true_parts
from asteroid_stab.losses.likelihood import mixture_nll
from asteroid_stab.losses.matched import matched_neg_sdr
from asteroid_stab.models.layered import LayeredModel
from asteroid_stab.models.refiner import LatentRefinementNet
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers import Stabilizer, StepObserver
from asteroid_stab.transfer import send

PENALTIES = ("linear", "share", "square")


def _check_likelihood(model: LatentRefinementNet, likelihood: float) -> None:
    if not 0 <= likelihood <= 1:
        raise StabError(f"likelihood must be from 0 to 1, got {likelihood}")
    if bool(likelihood) is not model.snr_exit:
        raise StabError(
            "model.snr_exit=true needs system.likelihood above 0, which trains its exits, and the other way round: "
            f"got snr_exit={model.snr_exit} and likelihood={likelihood}"
        )
    if likelihood and not isinstance(model, LayeredModel):
        raise StabError("likelihood needs the estimates of every iteration: train with head=layerwise")


class RefinementSystem(StabSystem):
    r"""Trains a :class:`~asteroid_stab.models.refiner.LatentRefinementNet`, of all that ``StabSystem`` offers.

    The noise is what a mixture has beside its sources. It is no source: permutations are over the speakers alone, and
    the model's slot for it is always the last.

    .. math:: L_b = L_{sep,b} + \lambda \hat N_b

    ``train/n_iterations`` and ``val/n_iterations`` are the means of N̂. Callbacks, the log of the loss and the weights
    of the items see the separation's part alone.

    Args:
        model: the network.
        optimizer: as in ``StabSystem``.
        loss_func: of the speakers.
        train_loader: as in ``StabSystem``.
        val_loader: as in ``StabSystem``.
        scheduler: as in ``StabSystem``.
        config: as in ``StabSystem``.
        seed: as in ``StabSystem``.
        noise_in_loss: whether the negative SI-SDR of the estimated noise counts as one more source's; that of a mixture
            without noise does not.
        iteration_penalty: lambda, in dB an iteration (``linear``: of N̂; ``square``: of its square) or in dB for all of
            them (``share``: of N̂ over the largest number).
        penalty: one of these.
        least_iterations: each training step applies every trained block a random number of times, from this one to the
            model's own, all equally likely: a function of (seed, epoch, batch), the same on all processes. None applies
            the model's numbers. Validation always has these.
        likelihood: w, the part of the negative log-likelihood of the sources
            (:func:`~asteroid_stab.losses.likelihood.mixture_nll`) in the loss, from 0 to 1; L_sep has 1 - w. It trains
            the exits of ``model.snr_exit`` and the network with them. Figure: ``likelihood``, in dB.
        remix: whether the training mixes the sources and noises of each batch afresh. An id then stands for
            another mixture each time, so parts that remember items are refused. Each rank mixes its own batch.

    Raises:
        StabError: the model is another, an argument is out of its range, ``noise_in_loss`` without a slot or with
            weights of single sources, ``least_iterations`` with layers, or ``remix`` with what remembers items.

    References:
        Bralios et al., "Latent iterative refinement for modular source separation", ICASSP 2023, arXiv 2211.11917,
        eq. (10) and (12). The penalty's form and size and whether the noise counts are not known: our reading. The
        number of repetitions as something that changes: Feng et al., "TISDiSS: a training-time and inference-time
        scalable framework for discriminative source separation", arXiv 2509.15666; drawing it in training is our
        reading.
    """

    compiles = False

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
        noise_in_loss: bool = False,
        iteration_penalty: float = 0.0,
        penalty: str = "linear",
        remix: bool = False,
        least_iterations: int | None = None,
        likelihood: float = 0.0,
    ):
        if not isinstance(model, LatentRefinementNet):
            raise StabError(f"the model must be a LatentRefinementNet (model=refiner), got {type(model).__name__}")
        if noise_in_loss and not model.noise_slot:
            raise StabError("noise_in_loss needs an output for the noise (model.noise_slot=true)")
        if not iteration_penalty >= 0:
            raise StabError(f"iteration_penalty must be at least 0, got {iteration_penalty}")
        if iteration_penalty and not model.gate:
            raise StabError("iteration_penalty needs gates that can leave iterations out (model.gate=true)")
        if penalty not in PENALTIES:
            raise StabError(f"penalty must be one of {', '.join(PENALTIES)}, got {penalty!r}")
        if least_iterations is not None:
            most = min(model.n_iterations)
            if isinstance(least_iterations, bool) or not 1 <= least_iterations <= most:
                raise StabError(
                    f"least_iterations must be from 1 to the fewest iterations of a block, {most}, or null, "
                    f"got {least_iterations}"
                )
            if isinstance(model, LayeredModel):
                raise StabError(
                    "least_iterations changes the number of layers from step to step, and layers are counted by their "
                    "place: train with head=plain, or with system.least_iterations=null"
                )
        _check_likelihood(model, likelihood)
        super().__init__(model, optimizer, loss_func, train_loader, val_loader, scheduler, config, seed)
        self.noise_in_loss, self.remix, self.likelihood = noise_in_loss, remix, likelihood
        self.iteration_penalty, self.penalty, self.least_iterations = iteration_penalty, penalty, least_iterations

    def check(self, plan: RunPlan) -> None:
        """Checks that nothing weighs sources where the noise counts, or remembers items where each batch is remixed."""
        super().check(plan)
        parts = [part for part in plan.callbacks if isinstance(part, StepObserver)]
        weighing = [type(part).__name__ for part in parts if isinstance(part, Stabilizer) and part.weighs_sources]
        if self.noise_in_loss and weighing:
            raise StabError(
                f"{weighing[0]} weighs single sources, and system.noise_in_loss=true makes one loss of a mixture's "
                "sources and its noise: weigh mixtures (stabilizer.reweight.level=mixture) or leave the noise out "
                "(system.noise_in_loss=false)"
            )
        if not self.remix:
            return
        remembering = [type(part).__name__ for part in [*parts, self.loss_func] if part.remembers_items]
        if remembering:
            raise StabError(
                f"{remembering[0]} needs stable ids, but system.remix=true mixes each batch afresh: train without it "
                "(callbacks=[], stabilizer=[], loss=pit) or with system.remix=false"
            )

    def common_step(self, batch: Any, batch_nb: int, train: bool = True) -> Tensor:
        """Returns the loss of the step, with the noise's part and the penalty."""
        mixture, sources, ids, lengths = Batch(*batch)
        speech = sources.sum(1)
        noise = audible(mixture - speech, speech)
        if self.remix:
            if len(mixture) == 1:
                raise StabError("system.remix=true mixes the items of a process' batch with each other, got one item")
            mixture, mixed, lengths = remix(torch.cat([sources, noise.unsqueeze(1)], 1), lengths=lengths)
            sources, noise = mixed[:, :-1], mixed[:, -1]
        blank, broken = blanked(mixture)
        per_block = self._drawn_iterations(batch_nb)
        nll: Tensor | None = None
        if self.likelihood:
            slots, figures, errors = self.model.forward_with_errors(blank, per_block)
            nll = mixture_nll(self.outputs(slots, sources.shape[1]), sources, errors[0], errors[1], lengths)
        else:
            gate_noise = self._gate_noise(ids, per_block) if self.model.gate else None
            slots, figures = self.model.forward_with_figures(blank, per_block, gate_noise=gate_noise)
        n_used = figures["n_iterations"]
        est = self.checked(self.outputs(slots, sources.shape[1]), sources)
        last = slots[-1] if slots.ndim == 4 else slots

        def complete(loss: Tensor) -> Tensor:
            if self.noise_in_loss:
                if loss.ndim == 2:
                    raise StabError("noise_in_loss needs weights of whole items, got some of single sources")
                of_noise = on_true_parts(matched_neg_sdr, lengths, last[:, -1:], noise.unsqueeze(1))
                loss = item_loss(torch.cat([loss.unsqueeze(1).expand(-1, sources.shape[1]), of_noise], 1))
            if nll is not None:
                other = nll if loss.ndim == 2 else nll.mean(1)
                # Where there is no loss there is no likelihood either: an item or a source is left out as a whole.
                mixed = (1 - self.likelihood) * loss + self.likelihood * other
                loss = torch.where(torch.isfinite(loss), mixed, loss.detach())
            if self.iteration_penalty:
                cost = self.iteration_penalty * self._cost(n_used)
                loss = loss + (cost if loss.ndim == 1 else cost.unsqueeze(1))
            return loss

        made = Batch(mixture, sources, ids, lengths)
        logged = {"n_iterations": n_used.detach().mean()}
        if nll is not None:
            logged["likelihood"] = nll.detach().mean()
        return self.learn(made, est, broken, complete, logged)

    def _drawn_iterations(self, batch_nb: int) -> list[int]:
        """Iterations of each block in a training step; blocks that a stage has frozen have their own number."""
        own = self.model.n_iterations
        if self.least_iterations is None:
            return list(own)
        random = np.random.default_rng((self.seed, self.current_epoch, batch_nb, 1))  # 1: no draw of a gate's noise
        drawn, trained = [int(random.integers(self.least_iterations, n + 1)) for n in own], self._trained_blocks
        return [*own[: trained.start], *drawn[trained], *own[trained.stop :]]

    @property
    def _trained_blocks(self) -> slice:
        """The blocks that are trained: all, or the one of the stage."""
        return slice(max(0, (self.model.stage or 0) - 1), self.model.depth)

    def _gate_noise(self, ids: Tensor | None, per_block: Sequence[int]) -> Tensor:
        """Gumbel noise ``[I, B, 2]`` of the iterations, a function of (seed, epoch, id): the same on any process."""
        if ids is None:
            raise StabError("a gate draws its noise by the ids of the items: the loader must give them")
        shape = (self.model.trained_iterations, 2)
        epoch, items = self.current_epoch, self.ids_on_host(ids)
        draws = [np.random.default_rng((self.seed, epoch, item)).gumbel(size=shape) for item in items]
        noise = torch.from_numpy(np.stack(draws, 1)).to(torch.promote_types(self.dtype, torch.float32))
        own, drawn = (numbers[self._trained_blocks] for numbers in (self.model.n_iterations, per_block))
        noise = torch.cat([of_block[:n] for of_block, n in zip(noise.split(own), drawn, strict=True)])
        return send(noise, self.device)

    def _cost(self, n_used: Tensor) -> Tensor:
        if self.penalty == "share":
            return n_used / sum(self.model.n_iterations)
        return n_used if self.penalty == "linear" else n_used.square()

    def outputs(self, est: Tensor, n_src: int) -> Tensor:
        """Selects the speakers' outputs; the last one may be the noise."""
        return est[..., : self.model.n_src, :]

    def validation_step(self, batch: Any, batch_nb: int) -> None:
        """Judges a batch, and counts its iterations."""
        made = Batch(*batch)
        blank, _ = blanked(made.mixture)
        est, figures = self.model.forward_with_figures(blank)
        n_used = figures["n_iterations"]
        self._val_sums.add(n_used=n_used, counted=torch.ones_like(n_used))
        est = self.checked(self.outputs(est, made.sources.shape[1]), made.sources)
        self.judge(made.mixture, made.sources, est, made.lengths)

    def on_validation_epoch_end(self) -> None:
        """Logs the iterations as well."""
        super().on_validation_epoch_end()
        sums = self._val_sums.total(["n_used", "counted"], comm_of(self.trainer).gather_or_none)
        self.log_epoch("val/n_iterations", sums["n_used"] / sums["counted"])
