"""The data module: what each rank and epoch sees of a corpus."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from asteroid_stab.cores import check_processes
from asteroid_stab.data.corpus import Corpus, check_count, check_split
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.epoch_loader import EpochLoader
from asteroid_stab.data.padding import collate
from asteroid_stab.data.sampler import Key, StridedSampler, epochs_done
from asteroid_stab.data.speed import SpeedPerturbed, percents
from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.microphones import check_same

log = logging.getLogger(__name__)

_SPLITS_OF: dict[str, Sequence[str]] = {
    "fit": ("train", "valid"),
    "validate": ("valid",),
    "test": ("test",),
    "predict": (),
}
"""Splits that each function of a Trainer uses."""


class MixtureDataModule(pl.LightningDataModule):
    """Loaders of ``(mixture [B, T], sources [B, J, T], id [B])`` for any corpus, see :class:`~.padding.Batch`.

    Mixtures of several microphones are ``[B, C, T]``, the reference first.

    Which items a rank sees, in which order and with which crops, is a function of (seed, epoch, rank, world
    size): see :class:`~asteroid_stab.data.sampler.EpochSampler`. Validation crops are the crops of epoch 0. The
    loaders bring their own samplers, so the Trainer needs ``use_distributed_sampler=False``, and they leave
    the global random generators alone.

    Args:
        corpus: the corpus.
        segment_s: length of the crops for training and validation, in seconds; shorter mixtures are left out, and
            their number is logged.
        batch_size: items in a batch of one rank.
        num_workers: processes that load; 0 loads in the training process.
        seed: seed of order and crops.
        pad_short: pad shorter mixtures with zeros instead. Batches then have a fourth part, the lengths without the
            zeros, and losses and figures are of the true parts alone.
        speeds: speeds that sources of the training set are played at, one drawn for each source of each item in every
            epoch, see :class:`~asteroid_stab.data.speed.SpeedPerturbed`; empty plays all as they are.

    Attributes:
        train_set: after ``setup("fit")``.
        valid_set: after ``setup("fit")`` or ``setup("validate")``.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        corpus: Corpus,
        segment_s: float = 3.0,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
        pad_short: bool = False,
        speeds: Sequence[float] = (),
    ):
        super().__init__()
        self.corpus = corpus
        self.batch_size = check_count("batch_size", batch_size, 1)
        self.num_workers = check_processes("num_workers", check_count("num_workers", num_workers, 0))
        self.seed = check_count("seed", seed, 0)
        if isinstance(segment_s, bool) or not isinstance(segment_s, (int, float)) or not math.isfinite(segment_s):
            raise ValueError(f"segment_s must be a number of seconds, got {segment_s!r}")
        if round(segment_s * corpus.sample_rate) < 1:
            raise ValueError(f"segment_s must be at least one sample of 1/{corpus.sample_rate} s, got {segment_s}")
        self.segment_s, self.pad_short = float(segment_s), pad_short
        self.speeds = tuple(speeds)
        percents(self.speeds)
        if self.speeds and pad_short:
            raise ValueError("pad_short keeps mixtures that are shorter than speeds can make them: set one of the two")
        self.train_set: MixtureDataset | None = None
        self.valid_set: MixtureDataset | None = None
        self._sent_ids: tuple[Tensor, Tensor] | None = None  # of the last batch, on the device and on the host

    def prepare_data(self, fn: str | None = None) -> None:
        """Makes the files of the splits that a function of the Trainer uses, and of no others.

        Lightning calls it in one process of a machine.

        Args:
            fn: the function, ``fit`` or ``validate``; None: the one that the trainer is in, and without one ``fit``.

        Raises:
            StabError: the corpus raises, or sources that lack reverberation are to be played at other speeds.
        """
        if fn is None and self.trainer is not None:
            fn = self.trainer.state.fn
        splits = _SPLITS_OF[fn or "fit"]
        if "train" in splits:
            self._check_speeds()  # before rooms are simulated
        self.corpus.prepare(splits)

    def setup(self, stage: str | None = None) -> None:
        """Builds the sets of a stage once; a second call keeps them.

        Raises:
            StabError: the corpus raises, its sets have different numbers of microphones, or sources that lack
                reverberation are to be played at other speeds.
        """
        if stage in (None, "fit") and self.train_set is None:
            self.train_set = self._build("train")
        if stage in (None, "fit", "validate") and self.valid_set is None:
            self.valid_set = self._build("valid")
        if self.train_set is not None and self.valid_set is not None:
            check_same({"train": self.train_set.n_mics, "valid": self.valid_set.n_mics})

    def _check_speeds(self) -> None:
        """Checks that sources which are played at other speeds take all of their sound in the mixture with them.

        Raises:
            StabError: they do not.
        """
        if self.speeds and not self.corpus.whole_sources:
            which = f" with target={self.corpus.references}" if self.corpus.references else ""
            raise StabError(
                f"sources{which} lack reverberation of the mixture, which would keep its speed: set loader.speeds=[], "
                "or data.target to all of their sound (image, in WHAMR! reverb)"
            )

    def test_dataset(self, split: str = "test") -> MixtureDataset:
        """Builds the set of a split's whole mixtures, for evaluation."""
        return self.corpus.dataset(check_split(split), None, self.seed)

    def state_dict(self) -> dict[str, Any]:
        """Returns the fingerprint of the training items, for a checkpoint."""
        return {} if self.train_set is None else {"fingerprint": self.train_set.fingerprint}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Checks that a training goes on with the items that it began with, whether anything remembers them or not.

        Raises:
            StabError: the items are others.
        """
        if self.train_set is not None:
            Items.of(self.train_set).check_same(state_dict["fingerprint"])

    def train_dataloader(self) -> DataLoader:
        """Returns the loader of this rank's part of each epoch's order, in full batches only."""
        if self.train_set is None:
            raise ValueError('train_dataloader must come after setup("fit")')
        sampler = self.train_set.sampler(self.batch_size, self.seed, *self._place())
        if self.trainer is not None:
            # Lightning starts to iterate before it first calls set_epoch, and workers then fetch at once.
            sampler.set_epoch(epochs_done(self.trainer))
        return self._loader(EpochLoader, self.train_set, sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        """Returns the loader of this rank's part of the validation set: always the same order, the same crops."""
        if self.valid_set is None:
            raise ValueError('val_dataloader must come after setup("fit") or setup("validate")')
        sampler = StridedSampler(len(self.valid_set), *self._place())
        return self._loader(DataLoader, self.valid_set, sampler, drop_last=False)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Sends a batch to the device; the host keeps its ids too."""
        sent = super().transfer_batch_to_device(batch, device, dataloader_idx)
        has_ids = isinstance(batch, (list, tuple)) and len(batch) > 2 and isinstance(batch[2], Tensor)
        self._sent_ids = (sent[2], batch[2]) if has_ids else None
        return sent

    def ids_on_host(self, ids: Tensor) -> list[int]:
        """Returns ids as integers, for the batch that was sent last without a wait for the device.

        Args:
            ids: [B], on any device.
        """
        if self._sent_ids is not None and self._sent_ids[0] is ids:
            return self._sent_ids[1].tolist()
        return ids.tolist()

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
        if self.pad_short:
            padded = self.corpus.padded_dataset(split, self.segment_s, self.seed)
            if padded.n_padded and rank == 0:
                log.info(
                    "%s: padded %d of %d mixtures shorter than segment_s=%g",
                    split, padded.n_padded, len(padded), self.segment_s,
                )  # fmt: skip
            return padded
        if split == "train":
            self._check_speeds()
        built = self.corpus.dataset(split, self.segment_s, self.seed)
        if built.n_short and rank == 0:
            log.warning(
                "%s: left out %d of %d mixtures shorter than segment_s=%g",
                split,
                built.n_short,
                built.n_short + len(built),
                self.segment_s,
            )
        return SpeedPerturbed(built, self.speeds, self.seed) if self.speeds and split == "train" else built

    def _loader(
        self, kind: type[DataLoader], dataset: MixtureDataset, sampler: Sampler[Key], drop_last: bool
    ) -> DataLoader:
        return kind(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=drop_last,
            collate_fn=collate if self.pad_short else None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            # A loader draws its workers' base seed whenever it is iterated. From a generator of its own, so
            # that the global one, which dropout uses, goes on the same with or without a validation between.
            generator=torch.Generator().manual_seed(self.seed),
        )
