"""A system whose steps may leave items out: seeded epochs, skipped optimizer steps, figures of the epoch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from asteroid_stab.callbacks.epoch_log import log_epoch
from asteroid_stab.callbacks.loaders import start_at_epoch
from asteroid_stab.callbacks.stabilized import comm_of
from asteroid_stab.data.datamodule import MixtureDataModule
from asteroid_stab.engine.host_system import HostSystem
from asteroid_stab.errors import StabError
from asteroid_stab.losses.weighting import weighted_mean
from asteroid_stab.microphones import check_takes
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers import StepReport
from asteroid_stab.stabilizers.counts import EpochCounts
from asteroid_stab.stabilizers.sums import EpochSums

log = logging.getLogger(__name__)


class StepSystem(HostSystem):
    """Base of the systems: trains on the items of a batch that have a loss, and logs what an epoch came to.

    A step in which no item of any process is left moves no weight. Random numbers drawn in training (dropout) depend
    on ``seed``, the epoch and the rank alone, so that a resumed run draws what an undisturbed one does.

    Args:
        model: takes ``[B, T]``, or ``[B, C, T]`` of several microphones, gives ``[B, J, T]``.
        optimizer: over all parameters of the model and of the loss.
        loss_func: a module whose own parameters, if it has any, are trained and kept in checkpoints.
        train_loader: as in Asteroid; None where a data module is given to ``Trainer.fit``.
        val_loader: as in Asteroid; None trains without validation.
        scheduler: as in Asteroid: one or a list, each a scheduler or Lightning's dict.
        config: plain values, kept in the checkpoints.
        seed: of the random numbers in training.

    Attributes:
        tasks: the tasks that a batch of the training set may be of; data of other tasks are refused.
        stepped: whether the last call of the optimizer moved weights.
    """

    tasks: tuple[str, ...] = ("separation",)

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
        self.stepped = True
        self.told: list[str] = []  # notes on the plan that somebody has passed on already
        self._counts, self._val_sums, self._n_skipped = EpochCounts(), EpochSums(), 0
        self._reports: list[StepReport] = []  # of the steps since the last update
        self._members = [list(group["params"]) for group in optimizer.param_groups]

    # --- before the first step ---

    def check(self, plan: RunPlan) -> None:
        """Checks before a file is written that the run can be trained.

        Raises:
            StabError: it cannot; the message names the override that helps.
        """
        self.check_tasks(getattr(plan.train_set, "tasks", ("separation",)))
        check_takes(self.model, getattr(plan.train_set, "n_mics", 1))

    def check_tasks(self, tasks: Sequence[str]) -> None:
        """Checks that the batches are of the tasks that this system trains on.

        Raises:
            StabError: they are not.
        """
        if tuple(tasks) != self.tasks:
            raise StabError(
                f"{type(self).__name__} trains on {' and '.join(self.tasks)}, the data are for {' and '.join(tasks)}: "
                "data=multitask and system=multitask belong together, and so do data=variable and system=variable"
            )

    def on_train_start(self) -> None:
        """Asks every part of the run whether it can do its work, for those who use the Trainer themselves."""
        super().on_train_start()
        start_at_epoch(self.trainer)
        train_set = getattr(self.trainer.train_dataloader, "dataset", None)
        if hasattr(train_set, "n_src"):  # a data set of another kind does not say; the first step finds out
            plan = RunPlan.of(self.trainer, self, train_set, resumed=self.trainer.ckpt_path is not None)
            plan.ask()
            for note in plan.notes():
                if note not in self.told and self.global_rank == 0:
                    log.warning("%s", note)

    def idle_parameters(self) -> Iterable[Parameter]:
        """Returns the parameters that are in the optimizer and not trained in this epoch; by default none."""
        return ()

    def configure_optimizers(self) -> Any:
        """Configures the host's optimizer over the parameters that are trained in this epoch."""
        self._choose_parameters()
        return super().configure_optimizers()

    def _choose_parameters(self) -> None:
        """Leaves the parameters to the optimizer that are trained now, of the loss and of a model trained in parts."""
        idle = {*self.idle_parameters()}
        for group, members in zip(self.optimizer.param_groups, self._members, strict=True):
            group["params"] = [p for p in members if p.requires_grad and p not in idle]
            for parameter in {*members} - {*group["params"]}:
                self.optimizer.state.pop(parameter, None)

    # --- a step ---

    def training_step(self, batch: Any, batch_nb: int) -> Tensor:
        """Returns the loss that is differentiated."""
        loss = self.common_step(batch, batch_nb, train=True)
        self.log("train/step_loss", loss.detach(), on_step=True, on_epoch=False, prog_bar=True)
        return loss

    def plain_mean(
        self,
        loss: Tensor,
        ids: Tensor | None,
        figures: Mapping[str, Tensor] = MappingProxyType({}),
        name: str = "loss",
    ) -> Tensor:
        """Returns this rank's part of the mean over the items of all ranks, times their number, and counts the items.

        Args:
            loss: [B] losses of the items; not finite where undefined.
            ids: [B] ids of the items.
            figures: scalars for the log.
            name: of the epoch's mean in the log.
        """
        comm = comm_of(self.trainer)
        mean = weighted_mean(loss, None, comm.gather_or_none)
        self.note(self._counts.add(loss.detach(), mean.mass, ids, figures, comm, name))
        return mean.value * comm.n_ranks

    def ids_on_host(self, ids: Tensor) -> list[int]:
        """Returns ids as integers: the host keeps the present batch's own, and need not wait for the device.

        Args:
            ids: [B] as :meth:`training_step` got them.
        """
        data = None if self._trainer is None else getattr(self.trainer, "datamodule", None)
        return data.ids_on_host(ids) if isinstance(data, MixtureDataModule) else ids.tolist()

    def note(self, report: StepReport) -> None:
        """Keeps a step's report until the optimizer is due."""
        self._reports.append(report)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """Steps the optimizer, unless no item of any rank was left: then not even Adam's momentum moves a weight."""
        assert optimizer_closure is not None
        result = optimizer_closure()  # forward and backward; the counts were copied to the host in between
        mass, finite, broken = torch.stack([report.counts_on_host for report in self._reports]).sum(0).tolist()
        reports, self._reports = self._reports, []
        if broken and not finite:
            raise StabError(
                "no item of this batch is finite (NaN or infinite audio, or a model that has diverged): "
                + ", ".join(self._names(reports))
            )
        if mass == 0 or (broken and self._gradients_broken()):
            self._n_skipped += 1
            self.stepped = False
            optimizer.zero_grad()
            return
        self.stepped = True
        optimizer.step(closure=lambda: result)

    def _gradients_broken(self) -> bool:
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            return False  # the scaler looks for itself, at the gradients that it has unscaled
        grads = [p.grad for p in self.parameters() if p.grad is not None]
        return not all(bool(torch.isfinite(g).all()) for g in grads)

    def _names(self, reports: list[StepReport]) -> list[str]:
        dataset = getattr(self.trainer.datamodule, "train_set", None)
        names = getattr(dataset or getattr(self.trainer.train_dataloader, "dataset", None), "names", None)
        ids = [i for report in reports if report.ids is not None for i in report.ids.tolist()]
        return [f"item {i}" if names is None else names[i] for i in ids]

    # --- epochs ---

    def on_train_epoch_start(self) -> None:
        """Seeds what training draws, by epoch and rank, and starts the sums from zero."""
        super().on_train_epoch_start()
        self._choose_parameters()
        seed = np.random.SeedSequence((self.seed, self.current_epoch, self.global_rank)).generate_state(1)[0]
        torch.manual_seed(int(seed))
        # A metric that this epoch does not log (a loss that is over, no validation) must not stay in the table.
        for name in [name for name in self.trainer.callback_metrics if name.startswith(("train/", "val/"))]:
            del self.trainer.callback_metrics[name]
        self._counts.reset()
        self._n_skipped = 0

    def state_within_epoch(self) -> dict[str, Any]:
        """Returns this process' sums of the present epoch, for a checkpoint within it."""
        return {"counts": self._counts.state_dict(), "n_skipped": self._n_skipped}

    def load_state_within_epoch(self, state: Mapping[str, Any]) -> None:
        """Goes on with saved sums."""
        self._counts.load_state_dict(state["counts"])
        self._n_skipped = state["n_skipped"]

    def epoch_figures(self, figures: dict[str, float]) -> dict[str, float]:
        """Returns the figures of an epoch over all ranks.

        Args:
            figures: figures that are known already.
        """
        comm = comm_of(self.trainer)
        skipped = comm.gather(torch.tensor([float(self._n_skipped)], device=self.device)).mean()
        return {**figures, "skipped_steps": skipped.item()}

    def on_validation_epoch_start(self) -> None:
        """Starts the sums of the validation."""
        self._val_sums.reset()

    def log_epoch(self, name: str, value: float, prog_bar: bool = False) -> None:
        """Logs a figure of the epoch."""
        log_epoch(self, name, value, prog_bar)
