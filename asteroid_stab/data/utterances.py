"""Single utterances by speaker, and sources of them: corpora and folders whose utterances other corpora mix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Utterances(Protocol):
    """The single utterances of one split; no base class is needed.

    An object of this form must pickle small (open files and memory-maps in the process that reads), and a read must
    not depend on earlier ones.

    Attributes:
        names: name of every utterance; unique.
        speakers: who speaks it, parallel to ``names``.
        lengths: in samples at the source's ``sample_rate``, parallel to ``names``.
    """

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def speakers(self) -> Sequence[str]: ...

    @property
    def lengths(self) -> Sequence[int]: ...

    def read(self, utterance: int, start: int, stop: int) -> np.ndarray:
        """Reads samples ``[stop - start]``, float32, mono, at the source's ``sample_rate``.

        They have the level at which the corpus mixes utterances before it draws their relative levels: a corpus that
        normalises loudness applies that gain here, so that equal gains in another mixture mean equally loud.
        """


class UtteranceSource(Protocol):
    """A source of utterances by split. Every corpus is one, and so are folders of speech without mixtures.

    Attributes:
        sample_rate: of the utterances, in Hz.
    """

    @property
    def sample_rate(self) -> int: ...

    def prepare(self, splits: Sequence[str]) -> None:
        """Makes the files that reading the utterances of these splits needs. One process of a machine calls it."""

    def utterances(self, split: str) -> Utterances:
        """Returns the utterances of a split.

        Raises:
            StabError: the source has none, or they cannot be used.
        """
