"""Asteroid's System on today's Lightning: its defects mended, and plateau schedulers that survive a resume."""

from __future__ import annotations

import copy
from typing import Any

import torch
from asteroid.engine.schedulers import BaseScheduler
from asteroid.engine.system import System
from asteroid.utils import flatten_dict
from torch.optim.lr_scheduler import ReduceLROnPlateau

from asteroid_stab.callbacks.loaders import steps_per_epoch, validates
from asteroid_stab.errors import StabError
from asteroid_stab.microphones import MicChoice


class HostSystem(System):
    """Asteroid's ``System`` with its defects mended.

    - Asteroid's System crashes without a validation loader, without a logger, or if a config holds a list of strings.
    - Lightning steps plateau schedulers after the epoch's checkpoint is written, so that a resumed run lacks one step.
      Here they are stepped before it, and their state is in the checkpoint.
    - Lightning loads a checkpoint of ``precision="64-true"`` into float32 weights, which rounds them. Here it does not.
    - Asteroid passes its own schedulers (``asteroid.engine.schedulers``), which count steps, to Lightning as schedulers
      that count epochs (unless a dict says otherwise), and the first step keeps the optimizer's rate. Here each step
      has the rate of its number, from 1, and a ``steps_per_epoch`` of None is filled in from the trainer.

    Args:
        *args: as Asteroid's ``System``.
        **kwargs: as Asteroid's ``System``.
    """

    microphones: MicChoice | None = None  # that the data took; the model's file keeps them
    compiles: bool = True  # whether a step calls the model as a whole, which torch.compile can replace then
    scheduler: Any

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._plateaus: list[ReduceLROnPlateau] = []
        self._plateau_states: list[dict[str, Any]] = []
        self._filled_in: list[tuple[BaseScheduler, int]] = []  # schedules that go by the trainer's steps per epoch

    def exported(self) -> torch.nn.Module:
        """The model that the run's model file holds."""
        return self.model

    def configure_optimizers(self) -> Any:
        """Configures as Asteroid does, without the plateau schedulers, which on_train_epoch_end steps."""
        schedulers = self.scheduler if isinstance(self.scheduler, (list, tuple)) else [self.scheduler]
        self._plateaus = [s for s in schedulers if isinstance(s, ReduceLROnPlateau)]
        started = copy.deepcopy([plateau.state_dict() for plateau in self._plateaus])  # restart() goes back to it
        for plateau, state in zip(self._plateaus, self._plateau_states, strict=False):
            plateau.load_state_dict(state)
        others = [s for s in schedulers if s is not None and not isinstance(s, ReduceLROnPlateau)]
        self.scheduler = [self._by_step(s) if isinstance(s, BaseScheduler) else s for s in others] or None
        configured = super().configure_optimizers()
        self.scheduler = schedulers
        stepped = [s["scheduler"] if isinstance(s, dict) else s for s in others]
        self._schedules = [*self._plateaus, *stepped]
        self._started = [*started, *copy.deepcopy([schedule.state_dict() for schedule in stepped])]
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        return configured

    def restart(self) -> None:
        """Starts the optimization again: clears the optimizer's state, resets rates and schedules to the first step."""
        self.optimizer.state.clear()
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate
        for schedule, state in zip(self._schedules, copy.deepcopy(self._started), strict=True):
            schedule.load_state_dict(state)

    def _by_step(self, scheduler: BaseScheduler) -> dict[str, Any]:
        if len({group["lr"] for group in scheduler.optimizer.param_groups}) > 1:
            raise StabError(f"{type(scheduler).__name__} gives all parameters one rate, so lr_factors must be []")
        if getattr(scheduler, "steps_per_epoch", 0) is None:
            n_steps = steps_per_epoch(self.trainer)
            if n_steps is None:
                raise StabError(
                    f"{type(scheduler).__name__} needs steps_per_epoch, since the training data have no length"
                )
            scheduler.steps_per_epoch = n_steps
            self._filled_in.append((scheduler, n_steps))
        if scheduler.step_num == 0:
            scheduler.step()
        return {"scheduler": scheduler, "interval": "step"}

    def on_train_start(self) -> None:
        """Checks that a schedule that counts the steps of an epoch goes on with as many as it began with.

        Raises:
            StabError: there are others now: the rate would fall at another speed.
        """
        super().on_train_start()
        for scheduler, n_steps in self._filled_in:
            before = scheduler.steps_per_epoch  # a checkpoint's, if there was one
            if before != n_steps:
                raise StabError(
                    f"{type(scheduler).__name__} must go on with the {before} steps of an epoch that it began with, "
                    f"got {n_steps}: its rate would change at another speed. Keep trainer.limit_train_batches and the "
                    "product of loader.batch_size, the number of processes (trainer.devices, trainer.num_nodes) and "
                    "trainer.accumulate_grad_batches, or start a new run with init.path=RUN"
                )

    def on_train_epoch_end(self) -> None:
        """Steps the plateau schedulers, before the checkpoint is written."""
        score = self.trainer.callback_metrics.get(self.default_monitor)
        if score is None and validates(self.trainer):
            return  # this epoch was not validated
        for plateau in self._plateaus:
            if score is None:
                raise StabError(f"a plateau scheduler needs {self.default_monitor}, and there is no validation set")
            plateau.step(score.item())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the config and the plateau schedulers."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["plateau_schedulers"] = [plateau.state_dict() for plateau in self._plateaus]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the plateau schedulers' state, for when they are configured; makes room for weights in float64."""
        self._plateau_states = checkpoint.get("plateau_schedulers", [])
        if self._trainer is not None and self.trainer.precision == "64-true":
            self.double()  # Lightning does so after it has loaded the weights, which float32 would round

    def on_validation_epoch_end(self) -> None:
        """Does nothing: the host logs a metric here to a logger that may be missing."""

    def val_dataloader(self) -> Any:
        """The validation loader; none is an empty list to Lightning, which refuses None."""
        return [] if self.val_loader is None else self.val_loader

    @staticmethod
    def config_to_hparams(dic: dict[str, Any]) -> dict[str, Any]:
        """Asteroid's flat hyper-parameters, with lists that are no numbers as text (it makes a tensor of any list)."""
        flat = flatten_dict(dic)
        numeric = {k: v for k, v in flat.items() if not _is_text_list(v)}
        return {**System.config_to_hparams(numeric), **{k: str(v) for k, v in flat.items() if _is_text_list(v)}}


def _is_text_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and not all(isinstance(v, (int, float)) for v in value)
