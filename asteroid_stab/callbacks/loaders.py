"""The training set and the validation set that a trainer runs on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sized
from typing import Any

import pytorch_lightning as pl

from asteroid_stab.data.sampler import epochs_done
from asteroid_stab.items import Items


def validates(trainer: pl.Trainer) -> bool:
    """Returns whether the run has a validation set, in epochs without a validation too."""
    return trainer.enable_validation and (trainer.val_dataloaders is None or sum(trainer.num_val_batches) > 0)


def training_items(trainer: pl.Trainer) -> Items | None:
    """Returns the items of a trainer whose loaders are set up; None where its loader has no data set."""
    dataset = getattr(trainer.train_dataloader, "dataset", None)
    return Items.of(dataset) if isinstance(dataset, (Sized, Iterable)) else None


def start_at_epoch(trainer: pl.Trainer) -> None:
    """Makes the training loaders begin where the training begins; to be called when it starts.

    Lightning iterates over the loaders before it sets the epoch of their samplers; where a schedule has asked for the
    steps of an epoch, even before it has read the checkpoint. Workers fetch batches at once, so that a resumed run
    would see the order and the crops of another epoch, or its own epoch from the first batch on. Loaders that started
    elsewhere are iterated over again.
    """
    fit_loop, epoch = trainer.fit_loop, epochs_done(trainer)
    elsewhere = fit_loop.restarting and bool(fit_loop._combined_loader_states_to_load)
    fit_loop._load_combined_loader_states()
    for loader in getattr(fit_loop._combined_loader, "flattened", ()):
        for sampler in _samplers(loader):
            if getattr(sampler, "epoch", epoch) != epoch:
                sampler.set_epoch(epoch)
                elsewhere = True
    if elsewhere:
        iter(fit_loop._data_fetcher)  # type: ignore[arg-type]


def _samplers(loader: Any) -> Iterator[Any]:
    """Yields the samplers of a loader that have epochs."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    for sampler in (getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None)):
        if callable(getattr(sampler, "set_epoch", None)):
            yield sampler


def steps_per_epoch(trainer: pl.Trainer) -> int | None:
    """Returns the optimizer steps of an epoch; None where the training data have no length.

    The loaders are set up if they are not yet: only then are the batches known.
    """
    trainer.fit_loop.setup_data()
    n_batches = trainer.num_training_batches
    return None if math.isinf(n_batches) else max(1, math.ceil(n_batches / trainer.accumulate_grad_batches))


def batches_done(trainer: pl.Trainer) -> int:
    """Returns the batches of the present epoch that a training had done when it started: 0 where an epoch starts."""
    within = trainer.fit_loop.restarted_mid_epoch
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress.current
    return progress.processed if within else 0


def epoch_is_whole(trainer: pl.Trainer) -> bool:
    """Returns whether the epoch that ends has had all its batches; False where something stopped within it."""
    return trainer.fit_loop.epoch_loop._num_ready_batches_reached()
