"""Mixtures of a varying number of sources in one training: several corpora as one, with silence for missing sources."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from asteroid_stab.data.corpus import Corpus
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.utterances import Utterances
from asteroid_stab.errors import StabError, within
from asteroid_stab.microphones import check_same

VARIABLE_TASK = "separation of a varying number of sources"


class VariableMixtures(MixtureDataset):
    """The mixtures of several sets as one set; a mixture of fewer sources than the most has silent ones.

    The sets are interleaved in proportion to their sizes, so that the first N items have all numbers of sources. A
    batch has mixtures of any number of sources.

    Args:
        parts: the sets by name, of whole mixtures (``segment_s=None``) at one sample rate.
        segment_s: length of a crop, in seconds; None gives whole mixtures.
        seed: seed of the crops.

    Attributes:
        n_active: number of sources of each item that are not silent throughout, ``[N]``.

    Raises:
        StabError: a set makes its own crops (dynamic mixing), no item is as long as the segment, or the sets have
            different numbers of microphones.
    """

    tasks = (VARIABLE_TASK,)

    def __init__(self, parts: Mapping[str, MixtureDataset], segment_s: float | None = None, seed: int = 0):
        for name, part in parts.items():
            if type(part).audio is not MixtureDataset.audio:
                raise StabError(
                    f"{{argument}}.{name} must have mixtures of fixed sources, which can be read in parts, and "
                    f"{type(part).__name__} makes the crops itself",
                    argument="parts",
                )
        self.n_mics = check_same({name: part.n_mics for name, part in parts.items()})
        self.parts = list(parts.values())
        all_items = [(part, item) for part in self.parts for item in range(len(part))]
        self._items = sorted(all_items, key=lambda one: (one[1] + 0.5) / len(one[0]))
        names = [f"{part.n_src}spk_{part.names[item]}" for part, item in self._items]
        lengths = [part.lengths[item] for part, item in self._items]
        most = max(part.n_src for part in self.parts)
        super().__init__(names, lengths, most, self.parts[0].sample_rate, segment_s, seed)
        self.n_active = np.array([self._items[row][0].n_src for row in self.rows])
        self.stable_ids = all(part.stable_ids for part in self.parts)

    @property
    def fingerprint(self) -> str:
        """Digest of the sets' fingerprints and of the items that are kept."""
        own = " ".join([super().fingerprint, *(part.fingerprint for part in self.parts)])
        return hashlib.sha256(own.encode()).hexdigest()[:16]

    def read(self, row: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        part, item = self._items[row]
        mixture, sources = part.read(part.rows[item], start, stop)
        missing = self.n_src - len(sources)
        return mixture, np.pad(sources, ((0, missing), (0, 0)))


class VariableSourcesCorpus(Corpus):
    """Several corpora as one, for a model that has an output for each of the most sources.

    The targets of a mixture of fewer sources are followed by silent ones, which ``loss=inactive`` asks silent estimates
    for. Every split has the mixtures of all corpora.

    Args:
        parts: the corpora by name; names have no meaning.

    Raises:
        ValueError: there are fewer than two corpora, all have as many sources, or the sample rates differ.
    """

    tasks = (VARIABLE_TASK,)

    def __init__(self, parts: Mapping[str, Corpus]):
        if not isinstance(parts, Mapping) or not all(isinstance(part, Corpus) for part in parts.values()):
            raise ValueError(f"parts must be corpora by name, got {parts!r}")
        counts = {name: part.n_src for name, part in parts.items()}
        if len({*counts.values()}) < 2:
            raise ValueError(f"parts must be corpora of different numbers of sources, got {counts}")
        rates = {name: part.sample_rate for name, part in parts.items()}
        if len({*rates.values()}) > 1:
            raise ValueError(f"parts must have one sample_rate, got {rates}")
        super().__init__(max(counts.values()), next(iter(rates.values())))
        self.parts = dict(parts)
        self.whole_sources = all(part.whole_sources for part in parts.values())

    def prepare(self, splits: Sequence[str]) -> None:
        for name, part in self.parts.items():
            with within(f"parts.{name}"):
                part.prepare(splits)

    def utterances(self, split: str) -> Utterances:
        """Returns the utterances of the corpus with most sources."""
        name = max(self.parts, key=lambda one: self.parts[one].n_src)
        with within(f"parts.{name}"):
            return self.parts[name].utterances(split)

    def dataset(self, split: str, segment_s: float | None = None, seed: int = 0) -> VariableMixtures:
        sets = {}
        for name, part in self.parts.items():
            with within(f"parts.{name}"):
                sets[name] = part.dataset(split, None, seed)
        return VariableMixtures(sets, segment_s, seed)
