"""The average of several epochs' models, and its score on the validation set as a training measures it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from asteroid.losses import PairwiseNegSDR
from torch import Tensor, nn

from asteroid_stab.data.datamodule import MixtureDataModule
from asteroid_stab.engine import StabSystem
from asteroid_stab.engine.host_system import HostSystem
from asteroid_stab.errors import StabError, within
from asteroid_stab.losses import ExactPITLossWrapper
from asteroid_stab.microphones import check_takes
from asteroid_stab.models.files import load_model
from asteroid_stab.run.check import build_part
from asteroid_stab.run.epochs import shown_epoch
from asteroid_stab.run.folder import RunFolder

_OF_SEPARATION = StabSystem.default_monitor


def choose_epochs(run: RunFolder, n: int, best_by: str | None = None) -> list[int]:
    """Returns the epochs whose models are averaged, from the first on; epochs count from 0.

    Args:
        run: the run folder.
        n: how many.
        best_by: metric of which the highest are taken; None: the last ones.

    Raises:
        StabError: the run has kept fewer models, or fewer of them have the metric.
    """
    kept = [*run.layout.epoch_models()]
    if best_by is not None:
        file = run.layout.metrics
        table = pd.read_csv(file, float_precision="round_trip") if file.is_file() else pd.DataFrame()
        known = table.dropna(subset=[best_by]) if best_by in table else table[:0]
        scores = {int(row["epoch"]): float(row[best_by]) for _, row in known.iterrows()}
        kept = sorted((epoch for epoch in kept if epoch in scores), key=lambda epoch: scores[epoch])
    if len(kept) < n:
        what = "" if best_by is None else f" and {best_by}"
        raise StabError(
            f"{run.path} holds models{what} of {len(kept)} epoch(s), and {n} are wanted: train with "
            "callbacks=[tracker,epoch_models], which keeps them, or take fewer"
        )
    return sorted(kept[-n:])


def mean_weights(weights: Mapping[int, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Returns the mean of the weights of several epochs, each epoch weighing the same.

    Sums are in double precision. Statistics of batch normalisation are averaged like weights, which is not what a pass
    over the data with the averaged weights would measure; whole numbers (its count of batches) are the last epoch's.

    Args:
        weights: the weights by name, by epoch.

    Raises:
        StabError: two epochs have weights of other names or shapes.

    Example:
        >>> mean_weights({3: {"a": torch.tensor([1.0]), "n": torch.tensor(7)},
        ...               4: {"a": torch.tensor([2.0]), "n": torch.tensor(8)}})
        {'a': tensor([1.5000]), 'n': tensor(8)}
    """
    epochs = [*weights]
    last = weights[epochs[-1]]
    for epoch in epochs[:-1]:
        names = {*weights[epoch]} ^ {*last}
        names |= {name for name in {*weights[epoch]} & {*last} if weights[epoch][name].shape != last[name].shape}
        if names:
            raise StabError(
                f"the models of epochs {shown_epoch(epoch)} and {shown_epoch(epochs[-1])} are of different parts "
                f"({min(names)}), as a progressive training makes them: average fewer epochs"
            )
    mean = {}
    for name, value in last.items():
        mean[name] = value
        if value.is_floating_point() or value.is_complex():
            wide = torch.complex128 if value.is_complex() else torch.float64
            mean[name] = torch.stack([of[name].to(wide) for of in weights.values()]).mean(0).to(value.dtype)
    return mean


def average_model(files: Mapping[int, Path], trust: Sequence[str] = ()) -> nn.Module:
    """Returns the model whose weights are the mean of the models in files, in evaluation mode on the CPU.

    Args:
        files: model files by epoch.
        trust: packages and classes that the files may name.

    Raises:
        StabError: a file cannot be read, or they are of different models.
    """
    models = {epoch: load_model(file, trust) for epoch, file in files.items()}
    model = [*models.values()][-1]
    model.load_state_dict(mean_weights({epoch: one.state_dict() for epoch, one in models.items()}))
    return model.eval()


def judging_system(run: RunFolder, model: nn.Module, tasks: Sequence[str]) -> HostSystem:
    """Returns the system that judges a model of a run's files as the run's own validation does.

    Args:
        run: the run folder.
        model: the model.
        tasks: the tasks of the run's corpus.

    Raises:
        StabError: the run has a pretext task, whose score is not of the model alone; or a class is not trusted.
    """
    if run.config.get("pretext"):
        raise StabError(
            f"{run.path} trained with a pretext task, whose part that scores is not in the models of epochs: an "
            "average of them has no score"
        )
    run.check_trusted("system", "loss")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)  # a system must have one
    exact = ExactPITLossWrapper(PairwiseNegSDR("sisdr"))
    if len(tasks) > 1:  # model files are of the task that separates
        return StabSystem(model, optimizer, exact)
    system = build_part("system", run.config.system, model, optimizer, exact)
    if system.default_monitor != _OF_SEPARATION:  # the score is of the loss
        loss = build_part("loss", run.config.loss)
        system = build_part("system", run.config.system, model, optimizer, loss)
    return system


def validation_score(run: RunFolder, system: HostSystem, data: MixtureDataModule, device: str = "cpu") -> float:
    """Returns the score on the validation set by which the run chose its best model, of one process.

    Args:
        run: the run folder.
        system: with the model that is judged.
        data: the run's data.
        device: of torch, such as cpu or cuda.

    Raises:
        StabError: the data cannot be used, or have another number of microphones than the model takes.
    """
    with within("data"):
        data.prepare_data("validate")
        data.setup("validate")
    check_takes(system.model, data.valid_set.n_mics)  # type: ignore[union-attr]  # it was just built
    warnings.filterwarnings("ignore", message=".*treespec.*", category=FutureWarning)  # Lightning 2.6 on torch 2.11
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    trainer = pl.Trainer(
        accelerator=torch.device(device).type, devices=1, precision=run.config.trainer.get("precision", "32-true"),
        limit_val_batches=run.config.trainer.get("limit_val_batches", 1.0), logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        default_root_dir=run.path,
    )  # fmt: skip
    logged: Any = trainer.validate(system, datamodule=data, verbose=False)
    return float(logged[0][system.default_monitor])
