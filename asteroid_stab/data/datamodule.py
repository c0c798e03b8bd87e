"""The data module that every corpus subclasses: its loaders, and what each rank and epoch sees of it."""

from __future__ import annotations

import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from asteroid_stab.data.dataset import Key, MixtureDataset
from asteroid_stab.data.sampler import EpochSampler, StridedSampler, TaskSampler
from asteroid_stab.data.utterances import Utterances
from asteroid_stab.errors import StabError, nearest

log = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")
Batch = tuple[Tensor, Tensor, Tensor]


def check_count(name: str, value: int, least: int) -> int:
    """``value``, which must be an integer of at least ``least``.

    Raises:
        StabError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise StabError(f"{name} must be an integer of at least {least}, got {value!r}")
    return value


def check_choice(name: str, value: str, known: Sequence[str]) -> str:
    """``value``, which must be one of ``known``.

    Raises:
        StabError: it is not; the nearest is offered.
    """
    if value not in known:
        raise StabError(f"{name} must be one of {', '.join(known)}, got {value!r}{nearest(value, known)}")
    return value


def check_split(split: str) -> str:
    """``split``, which must be train, valid or test.

    Raises:
        StabError: it is not.
    """
    if split not in SPLITS:
        raise StabError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    return split


def check_folder(key: str, folder: str | None, what: str) -> str:
    """``folder``, which must be one.

    Raises:
        StabError: it is None, or not there.
    """
    if folder is None:
        raise StabError(f"where {what} is must be said: set data.{key}=FOLDER")
    if not os.path.isdir(folder):
        raise StabError(f"{what} is not at {folder}: set data.{key}=FOLDER")
    return str(folder)


def check_level(name: str, value: float) -> float:
    """``value``, which must be a number of dB from 0 on.

    Raises:
        StabError: it is not.
    """
    if not (math.isfinite(value) and value >= 0):
        raise StabError(f"{name} must be a number of dB from 0 on, got {value}")
    return value


class MixtureDataModule(pl.LightningDataModule, ABC):
    """Loaders of ``(mixture [B, T], sources [B, J, T], id [B])`` for a corpus that gives a set per split.

    A subclass has an explicit constructor (its signature is the config's schema), implements
    :meth:`dataset`, makes files in ``prepare_data`` (one process a machine) if it needs any, and implements
    :meth:`utterances` if dynamic mixing shall work on it.

    Which items a rank sees, in which order and with which crops, is a function of (seed, epoch, rank, world
    size): see :class:`~asteroid_stab.data.sampler.EpochSampler`. Validation crops are those of epoch 0. The
    loaders bring their own samplers, so the Trainer needs ``use_distributed_sampler=False``, and they leave
    the global random generators alone.

    Args:
        n_src: sources in a mixture.
        sample_rate: in Hz.
        segment_s: length of the crops for training and validation, in seconds.
        batch_size: items in a batch of one rank.
        num_workers: processes that load; 0 loads in the training process.
        seed: seed of order and crops.

    Attributes:
        train_set: after ``setup("fit")``.
        valid_set: after ``setup("fit")`` or ``setup("validate")``.

    Raises:
        StabError: an argument is out of its range.
    """

    def __init__(
        self,
        n_src: int = 2,
        sample_rate: int = 8000,
        segment_s: float = 3.0,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        self.n_src = check_count("n_src", n_src, 1)
        self.sample_rate = check_count("sample_rate", sample_rate, 1)
        self.batch_size = check_count("batch_size", batch_size, 1)
        self.num_workers = check_count("num_workers", num_workers, 0)
        self.seed = check_count("seed", seed, 0)
        if isinstance(segment_s, bool) or not isinstance(segment_s, (int, float)) or not math.isfinite(segment_s):
            raise StabError(f"segment_s must be a number of seconds, got {segment_s!r}")
        if round(segment_s * sample_rate) < 1:
            raise StabError(f"segment_s must be at least one sample of 1/{sample_rate} s, got {segment_s}")
        self.segment_s = float(segment_s)
        self.train_set: MixtureDataset | None = None
        self.valid_set: MixtureDataset | None = None

    @abstractmethod
    def dataset(self, split: str, segment_s: float | None) -> MixtureDataset:
        """The set of a split (train, valid, test) in crops of ``segment_s`` seconds; None: whole."""

    def utterances(self, split: str) -> Utterances:
        """The single utterances that a split's mixtures are made of, which dynamic mixing draws from.

        Raises:
            StabError: this corpus has none.
        """
        raise StabError(f"{type(self).__name__} has no single utterances, which dynamic mixing needs")

    def test_dataset(self, split: str = "test") -> MixtureDataset:
        """The whole mixtures of a split, for evaluation."""
        return self.dataset(check_split(split), None)

    def setup(self, stage: str | None = None) -> None:
        """Builds the sets of a stage once; a second call keeps them."""
        if stage in (None, "fit") and self.train_set is None:
            self.train_set = self._build("train")
        if stage in (None, "fit", "validate") and self.valid_set is None:
            self.valid_set = self._build("valid")

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint knows of the training items."""
        return {} if self.train_set is None else {"fingerprint": self.train_set.fingerprint}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Checks that a training goes on with the items that it began with, whether anything remembers them or not.

        Raises:
            StabError: they are others.
        """
        if self.train_set is not None:
            self.train_set.check_same(state_dict["fingerprint"])

    def train_dataloader(self) -> DataLoader:
        """This rank's part of each epoch's permutation, in full batches only."""
        if self.train_set is None:
            raise ValueError('train_dataloader must come after setup("fit")')
        sampler = self._sampler(self.train_set, *self._place())
        if self.trainer is not None:
            # Lightning starts to iterate before it first calls set_epoch. Workers then fetch at once, and
            # after a resume they would fetch epoch 0.
            sampler.set_epoch(self.trainer.current_epoch)
        return self._loader(self.train_set, sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        """This rank's part of the validation set, always in the same order and the same crops."""
        if self.valid_set is None:
            raise ValueError('val_dataloader must come after setup("fit") or setup("validate")')
        return self._loader(self.valid_set, StridedSampler(len(self.valid_set), *self._place()), drop_last=False)

    def _sampler(self, dataset: MixtureDataset, rank: int, world_size: int) -> EpochSampler | TaskSampler:
        """The order of the training items."""
        return EpochSampler(len(dataset), self.batch_size, self.seed, rank, world_size)

    def _place(self) -> tuple[int, int]:
        """Rank and number of processes; alone without a trainer."""
        if self.trainer is None:
            return 0, 1
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        connector = getattr(self.trainer, "_accelerator_connector", None)  # where Lightning keeps the argument
        if world_size > 1 and getattr(connector, "use_distributed_sampler", False):
            raise StabError(
                f"the Trainer must have use_distributed_sampler=False, got True with {world_size} processes: "
                "it would deal out among them what this sampler has dealt out already"
            )
        return rank, world_size

    def _build(self, split: str) -> MixtureDataset:
        rank, _ = self._place()
        built = self.dataset(split, self.segment_s)
        if built.n_short and rank == 0:
            log.warning(
                "%s: left out %d of %d mixtures shorter than segment_s=%g",
                split,
                built.n_short,
                built.n_short + len(built),
                self.segment_s,
            )
        return built

    def _loader(self, dataset: MixtureDataset, sampler: Sampler[Key], drop_last: bool) -> DataLoader:
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            # A loader draws its workers' base seed whenever it is iterated. From a generator of its own, so
            # that the global one, which dropout uses, goes on the same with or without a validation between.
            generator=torch.Generator().manual_seed(self.seed),
        )
