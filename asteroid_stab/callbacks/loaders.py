"""The training set and the validation set that a trainer runs on."""

from __future__ import annotations

from collections.abc import Sized

import pytorch_lightning as pl

from asteroid_stab.items import Items


def validates(trainer: pl.Trainer) -> bool:
    """Returns whether the run has a validation set, in epochs without a validation too."""
    return trainer.enable_validation and (trainer.val_dataloaders is None or sum(trainer.num_val_batches) > 0)


def training_items(trainer: pl.Trainer) -> Items | None:
    """Returns the items of a trainer whose loaders are set up; None where its training set has no length."""
    dataset = getattr(trainer.train_dataloader, "dataset", None)
    return Items.of(dataset) if isinstance(dataset, Sized) else None
