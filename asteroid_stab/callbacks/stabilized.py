"""Binds the training step of this package to Lightning's hooks, for any LightningModule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from asteroid_stab.callbacks.epoch_log import log_epoch
from asteroid_stab.callbacks.loaders import start_at_epoch, training_items
from asteroid_stab.errors import StabError
from asteroid_stab.losses import AssignmentLossWrapper
from asteroid_stab.stabilizers import Comm, Stabilization, StepObserver


class LightningComm(Comm):
    """Exchange between the processes of a Lightning strategy."""

    def __init__(self, strategy: Any):
        self.strategy = strategy

    @property
    def rank(self) -> int:
        return self.strategy.global_rank

    @property
    def n_ranks(self) -> int:
        return self.strategy.world_size

    def gather(self, values: Tensor) -> Tensor:
        return self.strategy.all_gather(values.detach())

    def reduce_max(self, values: Tensor) -> Tensor:
        return self.strategy.reduce(values.detach().clone(), reduce_op="max")


class EpochFigures(pl.Callback):
    """Logs figures as ``train/NAME`` at the end of an epoch, before all other callbacks, which find them then.

    Args:
        figures: returns the figures by name; every process calls it.
    """

    def __init__(self, figures: Callable[[], dict[str, float]]):
        self.figures = figures

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the epoch's figures."""
        for name, value in self.figures().items():
            log_epoch(pl_module, f"train/{name}", value, prog_bar=name in ("switch_ratio", "kept"))


class StabilizedTraining(EpochFigures):
    """Passes the items, epochs and processes of a trainer to a stabilization, and logs its figures.

    The stabilizers and observers among the trainer's callbacks join the stabilization.

    Args:
        stab: the stabilization that the module's training step calls.
        complete: maps the figures of an epoch to the figures that are logged; by default they are the same.
    """

    def __init__(self, stab: Stabilization, complete: Callable[[dict[str, float]], dict[str, float]] = dict):
        super().__init__(lambda: complete(stab.end_epoch() if stab.n_calls else {}))
        self.stab = stab
        self._own = list(stab.stabilizers)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Binds the parts to the items of the training set."""
        start_at_epoch(trainer)
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        joined = [part for part in callbacks if isinstance(part, StepObserver) and part not in self._own]
        self.stab.stabilizers = [*self._own, *joined]
        self.stab.begin(training_items(trainer), comm_of(trainer))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the epoch."""
        self.stab.begin_epoch(trainer.current_epoch, trainer.global_step)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Sets the clock of schedules that count steps: several batches may make one step of the optimizer."""
        self.stab.clock = self.stab.clock._replace(step=trainer.global_step)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lets the trainer's stabilizers go: another trainer brings its own."""
        self.stab.stabilizers = list(self._own)

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the module's own stabilizers, and the names of items; the trainer's keep their own."""
        states: dict[str, Any] = {f"{i}": part.state_dict() for i, part in enumerate(self._own)}
        names = self.stab.ids.state()
        return {**states, "names": names} if names else states

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint's."""
        for i, part in enumerate(self._own):
            part.load_state_dict(state_dict[f"{i}"])
        self.stab.ids.load(state_dict.get("names", ()))


def comm_of(trainer: pl.Trainer) -> Comm:
    """Returns the exchange between a trainer's processes."""
    return LightningComm(trainer.strategy) if trainer.world_size > 1 else Comm()


def stabilized(
    module: pl.LightningModule, loss_func: AssignmentLossWrapper, stabilizers: Iterable[StepObserver] = ()
) -> Stabilization:
    """Returns the training step for a LightningModule, bound to its trainer; call it in ``configure_callbacks``.

    Stabilizers may be given here, to the trainer as callbacks, or both. Four lines make a module a stabilized one:

    .. code-block:: python

        class Mine(pl.LightningModule):
            def configure_callbacks(self):
                self.stab = stabilized(self, ExactPITLossWrapper(pairwise_neg_sisdr), [Reweighting(alpha=0.1)])
                return []

            def training_step(self, batch, batch_idx):
                mixture, sources, ids = batch
                return self.stab(self.model(mixture), sources, mixture, ids)

    A loss with parameters or state of its own (AttentionPIT, labels of a run) must also be an attribute of the module,
    set in ``__init__``: then the optimizer, the device and the checkpoints know it. Where every item of a batch is
    dropped, Lightning still steps the optimizer, whose momentum moves weights; ``StabSystem`` skips such steps.

    Args:
        module: the module, attached to a trainer (Lightning calls ``configure_callbacks`` then).
        loss_func: assignment and loss.
        stabilizers: the module's own; make them in ``__init__`` if a later fit is to go on with what they remember.

    Raises:
        StabError: the loss has parameters that the module does not have.
    """
    if {*loss_func.parameters()} - {*module.parameters()}:
        raise StabError(
            f"{type(loss_func).__name__} has parameters that {type(module).__name__} does not have, so that nothing "
            "would train them: make it an attribute of the module in __init__ and pass that"
        )
    stab = Stabilization(loss_func, stabilizers, count_switches=False)
    bind(module, StabilizedTraining(stab))
    return stab


def bind(module: pl.LightningModule, callback: EpochFigures) -> None:
    """Puts ``callback`` before all others of the module's trainer, in the place of an earlier one."""
    callbacks = module.trainer.callbacks  # type: ignore[attr-defined]
    callbacks[:] = [callback, *(other for other in callbacks if not isinstance(other, EpochFigures))]
