"""Estimates that ``asteroid-stab evaluate`` measures: a run's model's, or a beamformer's that is given the sources."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

from asteroid_stab.errors import StabError

if TYPE_CHECKING:
    from torch import nn

    from asteroid_stab.data.corpus import Corpus
    from asteroid_stab.data.dataset import MixtureDataset
    from asteroid_stab.metrics.cost import Cost
    from asteroid_stab.metrics.names import FigureInfo
    from asteroid_stab.metrics.separated import Separate
    from asteroid_stab.run.variants import Variant


class Separator(Protocol):
    """A way to separate the mixtures of a data set.

    Attributes:
        settings: by which an evaluation of it is known, for ``summary.json``.
        facts: further entries of ``summary.json``.
        figures: figures that it reports of each item.
    """

    @property
    def settings(self) -> Mapping[str, Any]: ...

    @property
    def facts(self) -> Mapping[str, Any]: ...

    @property
    def figures(self) -> Mapping[str, FigureInfo]: ...

    def check_corpus(self, corpus: Corpus) -> None:
        """Checks, before the corpus makes a file, that its mixtures can be separated.

        Raises:
            StabError: they cannot.
        """
        ...

    def check_data(self, dataset: MixtureDataset) -> None:
        """Checks that the mixtures of a data set can be separated.

        Raises:
            StabError: they cannot.
        """
        ...

    def cost(self, dataset: MixtureDataset) -> Cost | None:
        """Returns the cost on the first mixture that can be read; None where there is no model."""
        ...

    def estimates(self, dataset: MixtureDataset) -> Separate:
        """Returns the function that gives the estimates of items of a data set."""
        ...


class ModelSeparator:
    """A run's model, or a variant of it.

    Args:
        variant: the model file, and how its model is asked to work.
        trusted: names of classes that it may hold beside the package's.
        device: where it runs.
        batch_size: mixtures of equal length that it separates together at most.
    """

    def __init__(self, variant: Variant, trusted: set[str], device: str = "cpu", batch_size: int = 1):
        self._variant, self._trusted, self._device, self._batch_size = variant, trusted, device, batch_size
        digest = hashlib.sha256(variant.file.read_bytes()).hexdigest()
        self.settings = {"model_sha256": digest, "variant": variant.name or None, "oracle": None}
        self.facts = {"model": str(variant.file)}

    @cached_property
    def model(self) -> nn.Module:
        """The model on the CPU: of several corpora loaded once, of an evaluation that exists already never."""
        from asteroid_stab.trust import trusting

        with trusting(self._trusted):
            return self._variant.load()

    def _on_device(self) -> nn.Module:
        from asteroid_stab.separation.device import to_device

        return to_device(self.model, self._device).eval()

    @property
    def figures(self) -> Mapping[str, FigureInfo]:
        from asteroid_stab.metrics.figures import figures_of

        return figures_of(self.model)

    def n_src_and_rate(self) -> tuple[int, int]:
        """Returns the number of sources and the sample rate of the model.

        Raises:
            StabError: it cannot be tried, or states no sample rate.
        """
        from asteroid_stab.metrics.evaluation import count_sources

        rate = getattr(self.model, "sample_rate", None)
        if rate is None:
            raise StabError(
                f"{self._variant.file} states no sample rate, which the files must have: data=mixture_files "
                "data.root=FOLDER data.sample_rate=HZ data.n_src=NUMBER names it"
            )
        return count_sources(self.model, int(rate)), int(rate)

    def check_corpus(self, corpus: Corpus) -> None:
        from asteroid_stab.metrics.evaluation import check_model, check_sources

        check_model(self.model, corpus)
        check_sources(self.model, corpus)
        self._on_device()  # one that is not there is named now

    def check_data(self, dataset: MixtureDataset) -> None:
        from asteroid_stab.metrics.evaluation import check_model

        check_model(self.model, dataset)

    def cost(self, dataset: MixtureDataset) -> Cost | None:
        from asteroid_stab.metrics.cost import first_cost

        return first_cost(self._on_device(), dataset)

    def estimates(self, dataset: MixtureDataset) -> Separate:
        from asteroid_stab.metrics.separated import separated

        return partial(separated, self._on_device(), dataset, batch_size=self._batch_size)


class OracleSeparator:
    """A beamformer whose masks are made from the sources.

    Args:
        kind: a key of :data:`~asteroid_stab.separation.beamforming.BEAMFORMERS`.
    """

    def __init__(self, kind: str):
        self._kind = kind
        self.settings = {"model_sha256": None, "variant": None, "oracle": kind}
        self.facts: Mapping[str, Any] = {}
        self.figures: Mapping[str, FigureInfo] = {}

    def check_corpus(self, corpus: Corpus) -> None:
        pass

    def check_data(self, dataset: MixtureDataset) -> None:
        if dataset.n_mics < 2:
            raise StabError(
                f"--oracle {self._kind} needs mixtures of several microphones, got one: data.mics=null takes all that "
                "the files have"
            )

    def cost(self, dataset: MixtureDataset) -> Cost | None:
        return None

    def estimates(self, dataset: MixtureDataset) -> Separate:
        from asteroid_stab.metrics.separated import given
        from asteroid_stab.separation.beamforming import beamform

        return partial(
            given,
            dataset,
            lambda _, mixture, sources: beamform(self._kind, mixture, sources, dataset.sample_rate),
        )
