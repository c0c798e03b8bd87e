"""The items of the training set, for everything that remembers them from epoch to epoch."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.errors import StabError


def training_items(trainer: pl.Trainer, who: str, without: str) -> MixtureDataset:
    """The training set, if an id always means the same mixture in it.

    Args:
        trainer: a trainer whose loaders are set up.
        who: what needs the ids, for the message.
        without: the override that trains without it, for the message.

    Raises:
        StabError: the data are mixed anew each time, or come from a data set without ids.
    """
    dataset: Any = getattr(trainer.train_dataloader, "dataset", None)
    if not isinstance(dataset, MixtureDataset):
        raise StabError(f"{who} needs items with stable ids (a MixtureDataset), got {type(dataset).__name__}")
    if not dataset.stable_ids:
        raise StabError(
            f"{who} needs stable ids, but {type(dataset).__name__} mixes anew each time (dynamic mixing); "
            f"train on fixed mixtures, or without it ({without})"
        )
    return dataset
