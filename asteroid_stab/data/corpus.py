"""The contract of a corpus: mixtures by split, for any loader; and checks of a corpus' arguments."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence

from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.padding import PaddedMixtures
from asteroid_stab.data.utterances import Utterances
from asteroid_stab.errors import StabError, nearest

SPLITS = ("train", "valid", "test")
HIGHEST_RATE = 192_000
"""Highest sample rate in Hz, of studio recordings; a slip of the pen above it would fill the memory."""
MOST_MIXTURES = 100_000_000
"""Largest number of mixtures in a split, beyond which hours would pass before the first step."""


class Corpus(ABC):
    """Mixtures of a fixed number of sources in three splits: train, valid, test.

    A subclass has an explicit constructor, whose signature is the schema of its config, and implements
    :meth:`dataset`. It overrides :meth:`prepare` if it makes files, and :meth:`utterances` if other corpora may mix
    its utterances. Batches, crops' length, workers and the run's seed are the loader's
    (:class:`~asteroid_stab.data.datamodule.MixtureDataModule`): a corpus has none of them.

    Args:
        n_src: sources in a mixture.
        sample_rate: in Hz.

    Attributes:
        tasks: the tasks that a training batch may be of.
        references: kind of the sources where a corpus in rooms has several, such as ``anechoic`` or ``reverb``; empty
            elsewhere. An evaluation names it, since its numbers depend on it.
        whole_sources: whether a mixture is the sum of its sources and noise; False where sources in rooms lack
            reverberation that the mixture has.

    Raises:
        ValueError: an argument is out of its range.
    """

    tasks: Sequence[str] = ("separation",)
    references: str = ""
    whole_sources: bool = True

    def __init__(self, n_src: int, sample_rate: int):
        self.n_src = check_count("n_src", n_src, 1)
        self.sample_rate = check_count("sample_rate", sample_rate, 1, HIGHEST_RATE)

    @abstractmethod
    def dataset(self, split: str, segment_s: float | None = None, seed: int = 0) -> MixtureDataset:
        """Builds the data set of a split.

        Args:
            split: ``train``, ``valid`` or ``test``.
            segment_s: length of the crops, in seconds; None gives whole mixtures.
            seed: seed of the crops.

        Raises:
            StabError: files are missing or cannot be used. An error about an argument of the constructor carries its
                name (``StabError(..., argument="root")``).
        """

    def padded_dataset(self, split: str, segment_s: float, seed: int = 0) -> PaddedMixtures:
        """Builds the data set of a split with short mixtures padded with zeros instead of left out.

        Args:
            split: ``train``, ``valid`` or ``test``.
            segment_s: length of the crops, in seconds.
            seed: seed of the crops.

        Raises:
            StabError: as :meth:`dataset`; or this corpus cannot pad.
        """
        return PaddedMixtures(self.dataset(split, None, seed), segment_s, seed)

    def prepare(self, splits: Sequence[str]) -> None:  # noqa: B027  a corpus that makes no file has nothing to prepare
        """Makes the files of these splits that are not there yet, before several processes need them.

        The files of other splits are neither made nor looked for. :meth:`dataset` makes what its split lacks, so that
        a single process need not call this.

        Args:
            splits: of ``train``, ``valid`` and ``test``.
        """

    def utterances(self, split: str) -> Utterances:
        """Returns the single utterances that a split's mixtures are made of.

        Raises:
            StabError: this corpus has none.
        """
        raise StabError(f"{type(self).__name__} has no single utterances to mix")


def check_count(name: str, value: int, least: int, most: int | None = None) -> int:
    """Returns ``value``, an integer of at least ``least`` and at most ``most``.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    if most is not None and value > most:
        raise ValueError(f"{name} must be at most {most}, got {value}")
    return value


def check_counts(n_train: int, n_valid: int, n_test: int) -> dict[str, int]:
    """Returns the number of mixtures of each split, from 1 to :data:`MOST_MIXTURES`.

    Raises:
        ValueError: one is not.
    """
    counts = zip(SPLITS, (n_train, n_valid, n_test), strict=True)
    return {split: check_count(f"n_{split}", count, 1, MOST_MIXTURES) for split, count in counts}


def check_choice(name: str, value: str, known: Sequence[str]) -> str:
    """Returns ``value``, one of ``known``.

    Raises:
        ValueError: it is not; the message offers the nearest.
    """
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}{nearest(value, known)}")
    return value


def check_split(split: str) -> str:
    """Returns ``split``: train, valid or test.

    Raises:
        ValueError: it is none of them.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    return split


def check_rate(sample_rate: int) -> int:
    """Returns ``sample_rate``, one at which LibriMix, WSJ0-mix and WHAM! exist.

    Raises:
        ValueError: it is neither 8000 nor 16000.
    """
    if sample_rate not in (8000, 16_000):
        raise ValueError(f"sample_rate must be 8000 or 16000, got {sample_rate}")
    return sample_rate


def check_level(name: str, value: float) -> float:
    """Returns ``value``, a finite number of dB from 0 on.

    Raises:
        ValueError: it is not.
    """
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be a number of dB from 0 on, got {value}")
    return value


def check_folder(argument: str, folder: str | None, what: str) -> str:
    """Returns ``folder``, a folder that is there.

    Args:
        argument: name of the argument that gives the folder.
        folder: its value.
        what: which folder it should be, for the message: ``the LibriSpeech folder``.

    Raises:
        StabError: it is None, or there is no such folder.
    """
    if folder is None:
        raise StabError(f"{{argument}} is not set; set {{argument}}=FOLDER to {what}", argument)
    if not os.path.isdir(folder):
        raise StabError(f"{{argument}}: there is no folder {folder}; set {{argument}}=FOLDER to {what}", argument)
    return str(folder)
