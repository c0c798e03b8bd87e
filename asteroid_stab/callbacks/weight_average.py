"""A moving average of the weights, which validation, model files and the score between them share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from asteroid_stab.errors import StabError
from asteroid_stab.run.plan import RunPlan

log = logging.getLogger(__name__)
_TRAINED = "current_model_state"  # Lightning's name, in a checkpoint, of the weights that are trained
_WIDE = "wide_average"


class WeightAverage(pl.Callback):
    r"""Keeps an exponential moving average of the weights: :math:`\bar w \leftarrow d\,\bar w + (1 - d)\,w`.

    The training goes on with its own weights. The validation, the score that chooses the best model, ``best_model.pth``
    and the models of epochs are of the average, and so is ``state_dict`` in the checkpoints, which ``init.path`` reads;
    the trained weights stand beside it, so that a resumed run equals an undisturbed one. When the training ends, the
    module has the average, as after Lightning's ``WeightAveraging``.

    The average moves after each step of the optimizer, not after a step in which no item was left. It begins with the
    weights after the first such step of ``first_epoch``, and again with each block of a progressive training. It is of
    all that a ``state_dict`` holds, a loss' parameters included. Statistics of batch normalisation are averaged like
    weights; whole numbers, such as its count of batches, are the trained ones. Half precision is averaged in float32.

    Lightning's own callback keeps a copy of the whole module, with its optimizer and loaders, and waits for the device
    at each step; in its place this one keeps the tensors alone.

    Args:
        decay: d, from 0 (the average is the last weights) to below 1.
        first_epoch: epoch, counted from 0, that the average begins in; before it, everything is of the trained weights.

    Raises:
        ValueError: an argument is out of its range.
        StabError: another callback averages the weights too.

    References:
        Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 1992;
        the exponential form as in ``torch.optim.swa_utils.get_ema_multi_avg_fn``.
    """

    def __init__(self, decay: float, first_epoch: int = 0):
        if isinstance(decay, bool) or not 0 <= decay < 1:
            raise ValueError(f"decay must be a number from 0 to below 1, got {decay}")
        if first_epoch < 0:
            raise ValueError(f"first_epoch must be at least 0, got {first_epoch}")
        self.decay, self.first_epoch = float(decay), first_epoch
        self._move = get_ema_multi_avg_fn(self.decay)
        self._average: dict[str, Tensor] = {}
        self._before: dict[str, Tensor] = {}  # the trained weights, during a validation
        self._last_step = 0  # of the optimizer, that the average has

    def check(self, plan: RunPlan) -> None:
        """Checks that nothing else averages the weights.

        Raises:
            StabError: another callback does.
        """
        for other in plan.callbacks:
            if other is not self and isinstance(other, (WeightAverage, WeightAveraging)):
                raise StabError(
                    f"one callback may average the weights, got {type(self).__name__} and {type(other).__name__}"
                )

    def neutral(self, plan: RunPlan) -> str | None:
        """Returns which argument makes the average the trained weights."""
        if self.decay == 0:
            return "decay=0 makes the average the last weights (callbacks.ema.decay=0.999, say, averages)"
        if plan.max_epochs is not None and 0 <= plan.max_epochs <= self.first_epoch:
            return f"first_epoch={self.first_epoch} comes after the last of {plan.max_epochs} epochs"
        return None

    def restart(self) -> None:
        """Forgets the average: the next step begins another one."""
        self._average = {}

    # --- the average ---

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Moves the average after a step of the optimizer."""
        if trainer.global_step == self._last_step:  # batches are accumulated
            return
        self._last_step = trainer.global_step
        if trainer.current_epoch >= self.first_epoch and getattr(pl_module, "stepped", True):
            self._update(pl_module)

    @torch.no_grad()
    def _update(self, module: torch.nn.Module) -> None:
        trained = _tensors(module)
        if not self._average:
            self._average = {name: _wide(tensor).clone() for name, tensor in trained.items()}
            return
        moved = [name for name, tensor in trained.items() if tensor.is_floating_point() or tensor.is_complex()]
        kinds = {(self._at(name, trained[name]).dtype, trained[name].device) for name in moved}
        for kind in kinds:  # one call for all tensors of a kind
            names = [name for name in moved if (self._average[name].dtype, trained[name].device) == kind]
            self._move([self._average[name] for name in names], [_wide(trained[name]) for name in names], 0)
        for name in trained.keys() - moved:
            self._at(name, trained[name]).copy_(trained[name])

    def _at(self, name: str, like: Tensor) -> Tensor:
        """The average of a tensor, where that one is: a checkpoint's comes from the CPU."""
        if self._average[name].device != like.device:
            self._average[name] = self._average[name].to(like.device)
        return self._average[name]

    @torch.no_grad()
    def _put(self, module: torch.nn.Module) -> dict[str, Tensor]:
        """Puts the average into the module; returns the weights that it had."""
        tensors = _tensors(module) if self._average else {}
        before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        for name, tensor in tensors.items():
            tensor.data.copy_(self._average[name])
        return before

    @contextmanager
    def inside(self, module: torch.nn.Module) -> Iterator[None]:
        """Puts the average into the module for the block."""
        before = self._put(module)
        try:
            yield
        finally:
            _restore(module, before)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the average into the module."""
        self._before = self._put(pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the trained weights back."""
        _restore(pl_module, self._before)
        self._before = {}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leaves the average in the module, whose training is over."""
        self._put(pl_module)

    # --- checkpoints ---

    def state_dict(self) -> dict[str, Any]:
        """Returns the last step that the average has."""
        return {"last_step": self._last_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint's step."""
        self._last_step = state_dict["last_step"]

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Writes the average as ``state_dict``, and the trained weights beside it."""
        if not self._average:
            return
        average = {id(tensor): self._average[name] for name, tensor in _tensors(pl_module).items()}
        places = pl_module.state_dict(keep_vars=True)
        trained = checkpoint["state_dict"]
        checkpoint[_TRAINED] = trained
        checkpoint["state_dict"] = {
            name: average[id(places[name])].to(value.dtype) if id(places[name]) in average else value
            for name, value in trained.items()
        }
        checkpoint[_WIDE] = {n: a for n, a in self._average.items() if a.dtype != trained[n].dtype}

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Takes both, after the module has got the average."""
        self._average = {}
        if _TRAINED not in checkpoint:
            return  # of an epoch before the first
        saved = {**checkpoint["state_dict"], **checkpoint.get(_WIDE, {})}
        self._average = {name: _wide(saved[name]).clone() for name in _tensors(pl_module)}
        pl_module.load_state_dict(checkpoint[_TRAINED])


@contextmanager
def averaged_weights(trainer: pl.Trainer, module: pl.LightningModule) -> Iterator[None]:
    """Puts the average of the weights into the module for the block, where a callback keeps one: also Lightning's.

    All that a run keeps of a model for others passes through here, so that it is the model that was validated.

    Args:
        trainer: with its callbacks.
        module: the module that is trained.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, WeightAverage):
            with callback.inside(module):
                yield
            return
        if isinstance(callback, WeightAveraging) and callback._average_model is not None:
            callback._swap_models(module)
            try:
                yield
            finally:
                callback._swap_models(module)
            return
    yield


def _tensors(module: torch.nn.Module) -> dict[str, Tensor]:
    """The tensors that a module's ``state_dict`` holds, each once, however many names it has."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, value in module.state_dict(keep_vars=True).items():
        if isinstance(value, Tensor):
            found.setdefault(id(value), (name, value))
    return dict(found.values())


def _wide(tensor: Tensor) -> Tensor:
    """The tensor, float16 and bfloat16 as float32: an average that moves by a thousandth needs the bits."""
    detached = tensor.detach()
    return detached.float() if detached.dtype in (torch.float16, torch.bfloat16) else detached


@torch.no_grad()
def _restore(module: torch.nn.Module, before: dict[str, Tensor]) -> None:
    tensors = _tensors(module) if before else {}
    for name, value in before.items():
        tensors[name].data.copy_(value)
