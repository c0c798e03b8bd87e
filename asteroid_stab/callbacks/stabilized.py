"""Binds the training step of this package to Lightning's hooks, for any LightningModule."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from asteroid_stab.callbacks.epoch_log import log_epoch
from asteroid_stab.callbacks.loaders import start_at_epoch, training_items
from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.losses import AssignmentLossWrapper
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers import Comm, Stabilization, StepObserver
from asteroid_stab.stabilizers.parts import check_saved, named

log = logging.getLogger(__name__)


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
        items: the training items; None: the items of the trainer's training set.
        warns: whether to warn of stabilizers that change nothing; ``StabSystem`` does so itself.
    """

    def __init__(
        self,
        stab: Stabilization,
        complete: Callable[[dict[str, float]], dict[str, float]] = dict,
        items: Items | None = None,
        warns: bool = False,
    ):
        super().__init__(lambda: complete(stab.end_epoch() if stab.progress.n_calls else {}))
        self.stab, self.items, self.warns = stab, items, warns
        self._own, self._saved_rank = list(stab.stabilizers), 0  # rank of the process that a loaded state is of

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Binds the parts to the items of the training set."""
        start_at_epoch(trainer)
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        joined = [part for part in callbacks if isinstance(part, StepObserver) and part not in self._own]
        self.stab.stabilizers = [*self._own, *joined]
        self.stab.begin(self.items or training_items(trainer), comm_of(trainer))
        if self.warns:
            plan = RunPlan(0, loss=self.stab.loss, callbacks=self.stab.stabilizers, max_epochs=trainer.max_epochs)
            for note in plan.notes():
                rank_zero_warn(note)
        if self.stab.progress.under_way:  # written inside an epoch, which Lightning does not begin again
            for part in joined:
                part.n_steps = self.stab.progress.n_calls
            self.stab.begin_epoch(trainer.current_epoch, trainer.global_step)
            if trainer.global_rank == 1 and self._saved_rank == 0:
                log.warning(
                    "this checkpoint was written inside epoch %d, and holds what the first of %d processes knew then: "
                    "the figures of this epoch and what stabilizers remember lack what the others had seen in it",
                    trainer.current_epoch + 1, trainer.world_size,
                )  # fmt: skip

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the epoch."""
        self.stab.begin_epoch(trainer.current_epoch, trainer.global_step)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Sets the clock of schedules that count steps: several batches may make one step of the optimizer."""
        self.stab.progress.clock = self.stab.progress.clock._replace(step=trainer.global_step)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lets the trainer's stabilizers go: another trainer brings its own."""
        self.stab.stabilizers = list(self._own)

    def state_dict(self) -> dict[str, Any]:
        """Returns where the epoch is, and the state of the module's own stabilizers; the trainer's keep their own."""
        own = {name: part.state_dict() for name, part in named(self._own).items()}
        return {"own": own, "epoch": self.stab.epoch_state(), "rank": self.stab.comm.rank}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint's.

        Raises:
            StabError: the checkpoint is of a module with other stabilizers.
        """
        check_saved(self._own, state_dict.get("own", {}))
        for name, part in named(self._own).items():
            part.load_state_dict(state_dict["own"][name])
        self._saved_rank = state_dict.get("rank", 0)
        if "epoch" in state_dict:
            self.stab.load_epoch_state(state_dict["epoch"])


def comm_of(trainer: pl.Trainer) -> Comm:
    """Returns the exchange between a trainer's processes."""
    return LightningComm(trainer.strategy) if trainer.world_size > 1 else Comm()


def stabilized(
    module: pl.LightningModule,
    loss_func: AssignmentLossWrapper,
    stabilizers: Iterable[StepObserver] = (),
    items: int | Sized | Items | None = None,
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
    set in ``__init__``: then the optimizer, the device and the checkpoints know it.

    Two things are the module's own business, and done by :class:`~asteroid_stab.engine.StabSystem`: where every item
    of a batch is dropped, Lightning still steps the optimizer, whose momentum moves weights; and a mixture that is not
    finite must not reach the model (:func:`asteroid_stab.losses.guard.blanked`).

    Args:
        module: the module, attached to a trainer (Lightning calls ``configure_callbacks`` then).
        loss_func: assignment and loss.
        stabilizers: the module's own; make them in ``__init__`` if a later fit is to go on with what they remember.
        items: the training items, their number or names; None: the items of the trainer's training set.

    Raises:
        StabError: the loss has parameters that the module does not have.
    """
    if {*loss_func.parameters()} - {*module.parameters()}:
        raise StabError(
            f"{type(loss_func).__name__} has parameters that {type(module).__name__} does not have, so that nothing "
            "would train them: make it an attribute of the module in __init__ and pass that"
        )
    stab = Stabilization(loss_func, stabilizers, count_switches=False)
    bind(module, StabilizedTraining(stab, items=None if items is None else Items.of(items), warns=True))
    return stab


def bind(module: pl.LightningModule, callback: EpochFigures) -> None:
    """Puts ``callback`` before all others of the module's trainer, in the place of an earlier one."""
    callbacks = module.trainer.callbacks  # type: ignore[attr-defined]
    callbacks[:] = [callback, *(other for other in callbacks if not isinstance(other, EpochFigures))]
