"""Builds the parts of a run from a checked config, in the order in which they need each other."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.accelerators import CPUAccelerator

from asteroid_stab.callbacks import EpochTable, WholeEpochs
from asteroid_stab.callbacks.freeze import named_parts
from asteroid_stab.callbacks.screen import EpochLines, StabProgressBar
from asteroid_stab.cores import check_processes
from asteroid_stab.data.datamodule import MixtureDataModule
from asteroid_stab.engine.host_system import HostSystem
from asteroid_stab.errors import StabError
from asteroid_stab.models.pretrained import Transfer
from asteroid_stab.run.check import build_part
from asteroid_stab.run.checkpoints import UpgradedCheckpoints
from asteroid_stab.run.compilation import compile_model
from asteroid_stab.run.microphones import chosen_microphones
from asteroid_stab.run.network import build_network, try_network

_SHARDED = ("fsdp", "deepspeed", "model_parallel", "xla_fsdp")  # Lightning's strategies that deal out one model


@dataclass(frozen=True)
class Built:
    """The parts of a run, built and not yet started.

    Attributes:
        data: the loaders of the corpus, not yet set up.
        network: the model without its head.
        transfer: the weights that the network starts with, if they are another model's.
        system: the LightningModule, with the model, its loss or pretext task, and the optimizer.
        trainer: Lightning's trainer, with all callbacks.
    """

    data: MixtureDataModule
    network: torch.nn.Module
    transfer: Transfer | None
    system: HostSystem
    trainer: pl.Trainer


def build_run(config: DictConfig, resumed: bool = False) -> Built:
    """Builds the parts of a checked config.

    Args:
        config: the config.
        resumed: weights will come from a checkpoint, so the weights of ``init`` are not needed.

    Raises:
        StabError: a constructor refuses its arguments, or two parts do not fit each other.
    """
    _seed(config)
    data = build_part("loader", config.loader, build_part("data", config.data))
    network: Any = build_network(config.model, data.corpus)
    if network.sample_rate != data.corpus.sample_rate:
        rates = f"the model works at {network.sample_rate:g} Hz and the data at {data.corpus.sample_rate:g} Hz"
        raise StabError(rates)
    n_samples, kernel = round(data.segment_s * network.sample_rate), shortest_input(network)
    if n_samples < kernel:
        raise StabError(
            f"loader.segment_s={data.segment_s:g} gives {n_samples} samples, and the model's filters have {kernel}: "
            "set longer segments or a shorter model.kernel_size"
        )
    try_network(network, n_samples, config.trainer.get("accelerator", "auto"))
    transfer = None if resumed else build_part("init", config.init, network)
    model, objective = _with_loss(config, network)
    optimizer, scheduler = _optimizer(config, model, objective)
    plain: Any = OmegaConf.to_container(config)
    given = {"scheduler": scheduler, "config": plain, "seed": config.seed}
    system = build_part("system", config.system, model, optimizer, objective, **given)
    system.microphones = chosen_microphones(plain)
    system.check_tasks(data.corpus.tasks)
    compile_model(system, config.get("compile", False))
    trainer = _trainer(config, _callbacks(config, system))
    _check_number(trainer, data)
    return Built(
        data, network, transfer if OmegaConf.select(config, "init.path") is not None else None, system, trainer
    )


def _check_number(trainer: pl.Trainer, data: MixtureDataModule) -> None:
    """Checks that the training is one that this machine can run in processes, before any is started.

    Raises:
        StabError: there would be too many.
    """
    n_local = trainer.num_devices
    try:
        if isinstance(trainer.accelerator, CPUAccelerator):
            check_processes("trainer.devices", n_local)
        check_processes(f"loader.num_workers times trainer.devices={n_local}", data.num_workers * n_local)
    except ValueError as error:
        raise StabError(str(error)) from error


def shortest_input(network: torch.nn.Module) -> int:
    """Returns the length of the filters of a model's encoder, in samples; 1 where it does not show it."""
    encoder = getattr(network, "encoder", None)
    kernel = getattr(getattr(encoder, "filterbank", encoder), "kernel_size", 1)
    return max(kernel) if isinstance(kernel, tuple) else int(kernel)


def _seed(config: DictConfig) -> None:
    if isinstance(config.seed, bool) or not isinstance(config.seed, int) or not 0 <= config.seed < 2**32:
        raise StabError(f"seed must be a whole number from 0 to 2^32 - 1, got {config.seed!r}")
    pl.seed_everything(config.seed, workers=True, verbose=False)


def _with_loss(config: DictConfig, model: Any) -> tuple[Any, Any]:
    """Returns the model with its head, and what it is trained with: the assignment loss or a pretext task."""
    loss = build_part("loss", config.loss)
    if bool(config.head.model) != bool(config.head.loss):
        raise StabError("head.model and head.loss belong together: both or neither (head=layerwise, head=plain)")
    if config.head.model:
        model = build_part("head.model", config.head.model, model)
        loss = build_part("head.loss", config.head.loss, loss)
        if model.n_layers == 1:
            print("note: the model has one layer, with which head=layerwise changes nothing", flush=True)
        if not loss.trains_early:
            model.watch_early()
    if not config.get("pretext"):
        return model, loss
    pretext = build_part("pretext", config.pretext)
    pretext.prepare(model)
    return model, pretext


def _optimizer(config: DictConfig, model: torch.nn.Module, objective: torch.nn.Module) -> tuple[Any, Any]:
    """Returns optimizer and scheduler."""
    trained = [p for module in (model, objective) for p in module.parameters() if p.requires_grad]
    factors = config.get("lr_factors") or []  # a run of an earlier version has none
    optimizer = build_part("optim", config.optim, rate_groups(model, trained, factors, config.optim.get("lr")))
    return optimizer, build_part("scheduler", config.scheduler, optimizer) if config.scheduler else None


def _callbacks(config: DictConfig, system: Any) -> list[pl.Callback]:
    """Returns the callbacks of the config and the stabilizers, then the ones that keep and show what these log.

    The first one lets only whole epochs pass to all others.
    """
    groups, infos = ("callbacks", "stabilizer"), {"recipe": config.recipe, "seed": config.seed}
    return [
        WholeEpochs(config.trainer.get("max_steps", -1)),
        *(build_part(f"{group}.{name}", node) for group in groups for name, node in (config[group] or {}).items()),
        EpochTable(),
        StabProgressBar() if sys.stdout.isatty() else EpochLines(),
        build_part("checkpoint", config.checkpoint, system.default_monitor, infos=infos),
    ]


def _trainer(config: DictConfig, callbacks: list[pl.Callback]) -> pl.Trainer:
    # Lightning's advice on workers and loggers does not fit a corpus in memory or a folder that holds its own tables.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*treespec.*", category=FutureWarning)  # Lightning 2.6 on torch 2.11
    strategy = str(config.trainer.get("strategy"))
    if strategy.startswith(_SHARDED):
        raise StabError(
            f"trainer.strategy must be auto or one of Lightning's ddp strategies, got {strategy}: each process needs "
            "the whole model, which checkpoints and model files are written from (egs/slurm/README.md says more)"
        )
    limits = {"max_steps": -1} if "max_steps" in config.trainer else {}  # WholeEpochs counts them
    trainer = build_part(
        "trainer",
        config.trainer,
        **limits,
        callbacks=callbacks,
        logger=build_part("logger", config.logger) if config.logger else False,
        default_root_dir=config.run_dir,
        enable_progress_bar=sys.stdout.isatty(),
    )
    trainer.strategy.checkpoint_io = UpgradedCheckpoints()
    # Lightning's handler of SIGTERM waits for the other processes, and its handler of SLURM's signal writes a
    # checkpoint within an epoch, whose rest a resumed run would leave out. The program follows signals itself.
    trainer._signal_connector.register_signal_handlers = lambda: None
    return trainer


def rate_groups(
    model: torch.nn.Module, trained: list[torch.nn.Parameter], factors: Sequence[Sequence[Any]], lr: float | None
) -> list[dict[str, Any]]:
    """Returns the optimizer's groups: one for each part with a rate of its own, after one for all other parameters.

    Args:
        model: the model.
        trained: all parameters that are trained.
        factors: pairs of a part of the model and the factor of its rate.
        lr: the rate that the factors multiply.

    Raises:
        StabError: an entry is not such a pair, the model has no such part, two parts share parameters, or there is no
            ``lr``.
    """
    if factors and lr is None:
        raise StabError("lr_factors are of optim.lr, which must be given")
    for pair in factors:
        if len(pair) != 2 or not isinstance(pair[0], str) or not _is_factor(pair[1]):
            raise StabError(f"lr_factors must be pairs of a part of the model and a factor from 0 on, got {pair}")
    parts = named_parts(model, [name for name, _ in factors])
    owner: dict[torch.nn.Parameter, str] = {}
    for name, parameters in parts.items():
        for parameter in parameters:
            if parameter in owner:
                raise StabError(f"lr_factors must name parts apart from each other, got {owner[parameter]} and {name}")
            owner[parameter] = name
    groups = [{"params": parts[name], "lr": (lr or 0.0) * factor} for name, factor in factors]
    return [{"params": [p for p in trained if p not in owner]}, *groups]


def _is_factor(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
