"""Single utterances by speaker: what a corpus offers so that dynamic mixing can draw from it.

A corpus takes part by implementing ``MixtureDataModule.utterances(split)``, which returns an object of the
form of :class:`Utterances` (no base class needed). The object must pickle small (open files and memory-maps
in the process that reads) and must read the same whatever was read before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Utterances(Protocol):
    """The single utterances of one split.

    Attributes:
        names: name of every utterance; unique.
        speakers: who speaks it, parallel to ``names``.
        lengths: in samples at the data module's ``sample_rate``, parallel to ``names``.
    """

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def speakers(self) -> Sequence[str]: ...

    @property
    def lengths(self) -> Sequence[int]: ...

    def read(self, utterance: int, start: int, stop: int) -> np.ndarray:
        """Samples ``[stop - start]``, float32, mono, at the data module's ``sample_rate``.

        At the level at which the corpus mixes utterances before it draws their relative levels: a corpus that
        normalises loudness applies that gain here, so that equal gains in dynamic mixing mean equally loud.
        """
