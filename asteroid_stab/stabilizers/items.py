"""What callbacks ask of a run's data: the items of the training set, and whether there is a validation set."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.errors import StabError


def validates(trainer: pl.Trainer) -> bool:
    """Whether the run has a validation set, be it validated in this epoch or not."""
    return trainer.enable_validation and (trainer.val_dataloaders is None or sum(trainer.num_val_batches) > 0)


def training_set(trainer: pl.Trainer) -> Any:
    """The training set of a trainer whose loaders are set up; None where its loader has none."""
    return getattr(trainer.train_dataloader, "dataset", None)


def stable_items(dataset: Any, who: str, without: str) -> MixtureDataset:
    """``dataset``, if an id always means the same mixture in it.

    Args:
        dataset: a training set.
        who: what needs the ids, for the message.
        without: the override that trains without it, for the message.

    Raises:
        StabError: the data are mixed anew each time, or come from a data set without ids.
    """
    if not isinstance(dataset, MixtureDataset):
        raise StabError(f"{who} needs items with stable ids (a MixtureDataset), got {type(dataset).__name__}")
    if not dataset.stable_ids:
        raise StabError(
            f"{who} needs stable ids, but {type(dataset).__name__} mixes anew each time (dynamic mixing); "
            f"train on fixed mixtures, or without it ({without})"
        )
    return dataset
