"""A system whose loss lives with it: it has epochs, parameters and a memory of items."""

from __future__ import annotations

from typing import Any

import torch

from asteroid_stab.engine.host_system import HostSystem
from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.losses import AssignmentLossWrapper
from asteroid_stab.stabilizers.items import stable_items, training_set


class LossSystem(HostSystem):
    """Tells the loss its epoch and whose labels it will be asked for, and trains the parameters that it has.

    Args:
        model: as Asteroid's ``System``.
        optimizer: over all parameters of the model and of the loss.
        loss_func: the assignment and its loss.
        *args: as Asteroid's ``System``.
        **kwargs: likewise.

    Raises:
        StabError: the loss is no ``AssignmentLossWrapper``.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_func: torch.nn.Module,
        *args: Any,
        **kwargs: Any,
    ):
        if not isinstance(loss_func, AssignmentLossWrapper):
            raise StabError(
                f"loss_func must be an AssignmentLossWrapper, got {type(loss_func).__name__}; asteroid_stab.losses has "
                "those of the papers, and a subclass of it needs no more than _assign()"
            )
        super().__init__(model, optimizer, loss_func, *args, **kwargs)
        self._members = [list(group["params"]) for group in optimizer.param_groups]

    def check_items(self, dataset: Any) -> None:
        """Refuses training items whose ids change their meaning, if the loss goes by them.

        Raises:
            StabError: they do.
        """
        if self.loss_func.remembers_items:
            stable_items(dataset, type(self.loss_func).__name__, "loss=pit")

    def on_train_start(self) -> None:
        """Tells the loss whose labels it will be asked for."""
        items = training_set(self.trainer)
        self.check_items(items)
        if self.loss_func.remembers_items:
            self.loss_func.bind(Items.of(items))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the loss to the checkpoint's epoch: the optimizer's state is of what was trained then."""
        super().on_load_checkpoint(checkpoint)
        self.loss_func.set_epoch(checkpoint["epoch"])

    def configure_optimizers(self) -> Any:
        """As in the host, over the parameters that are trained in this epoch."""
        self._choose_parameters()
        return super().configure_optimizers()

    def _choose_parameters(self) -> None:
        """Leaves those parameters to the optimizer that are trained now, of the loss and of a model in stages."""
        idle = {*self.loss_func.parameters()} - {*self.loss_func.trained_parameters()}
        for group, members in zip(self.optimizer.param_groups, self._members, strict=True):
            group["params"] = [p for p in members if p.requires_grad and p not in idle]
            for parameter in {*members} - {*group["params"]}:
                self.optimizer.state.pop(parameter, None)

    def on_train_epoch_start(self) -> None:
        """Takes the loss to this epoch."""
        self.loss_func.set_epoch(self.current_epoch)
        self._choose_parameters()
