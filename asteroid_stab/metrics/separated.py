"""Whole mixtures with estimates: a model's, alone or in batches of one length, or given ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.errors import StabError, cause
from asteroid_stab.metrics.figures import separate_with_figures
from asteroid_stab.microphones import item_reference


class Separated(NamedTuple):
    """A mixture and its estimates, or why there are none.

    Attributes:
        item: number of the mixture.
        fault: why it has no estimates that can be measured; empty where it has.
        mixture: [T], at the reference microphone.
        sources: [J, T].
        estimates: [J, T], on the CPU.
        figures: of the model, and what is counted of the estimates.
        failures: why one of the figures is undefined, by figure; empty where all are defined.
    """

    item: int
    fault: str
    mixture: Tensor
    sources: Tensor
    estimates: Tensor
    figures: dict[str, float]
    failures: Mapping[str, str] = MappingProxyType({})


Separate = Callable[[Sequence[int]], Iterator[Separated]]
"""Gives the estimates of items, of their ids, in any order."""


def separate_whole(model: nn.Module, mixture: Tensor) -> Tensor:
    """Estimates [J, T] of a mixture [T], or [C, T] of several microphones, on the CPU."""
    return _separate(model, mixture[None])[0][0]


def separated(
    model: nn.Module, dataset: MixtureDataset, items: Sequence[int], batch_size: int = 1
) -> Iterator[Separated]:
    """Separates whole mixtures; mixtures of equal length go through the model together, so that nothing is padded.

    Padding would change the estimates of most models, whose norms and recurrences see all of a signal. Where a batch
    fails, for lack of memory or because of one mixture, its mixtures go through alone, so that the right one is named.

    Args:
        model: maps [B, T], or [B, C, T] of several microphones, to [B, J, T]; in evaluation mode.
        dataset: whole mixtures.
        items: their numbers.
        batch_size: mixtures that go together at most; with more than 1 they come in the order of their lengths.

    Raises:
        StabError: the model separates another number of sources.
    """
    for batch in _batches(dataset.lengths, items, batch_size):
        groups: dict[int, list[tuple[int, Tensor, Tensor]]] = {}
        for item in batch:
            read = _read(dataset, item)
            if isinstance(read, Separated):
                yield read
            else:
                groups.setdefault(read[1].shape[-1], []).append(read)
        for group in groups.values():
            yield from _together(model, dataset, group)


def given(
    dataset: MixtureDataset, read: Callable[[int, Tensor, Tensor], Tensor], items: Sequence[int]
) -> Iterator[Separated]:
    """Pairs whole mixtures with estimates that need no model: they are there already, or made from the sources.

    Args:
        dataset: whole mixtures.
        read: gives the estimates [J, T], of an item's number, its mixture [T] or [C, T], and its sources [J, T].
        items: their numbers.

    Raises:
        StabError: there is another number of estimates than of sources.
    """
    for item in items:
        found = _read(dataset, item)
        if isinstance(found, Separated):
            yield found
            continue
        _, mixture, sources = found
        try:
            estimates = read(item, mixture, sources)
        except Exception as error:  # of any type: a file may hold anything
            yield _failed(item, error)
            continue
        fault = _fault(estimates, sources, dataset.names[item])
        yield Separated(item, fault, item_reference(mixture), sources, estimates, {})


def _batches(lengths: Sequence[int], items: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """The items in batches of one length; alone and in their order where ``batch_size`` is 1."""
    if batch_size == 1:
        yield from ([item] for item in items)
        return
    batch: list[int] = []
    for item in sorted(items, key=lambda item: -lengths[item]):  # the longest first: what lacks memory lacks it at once
        if batch and (len(batch) == batch_size or lengths[item] != lengths[batch[0]]):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _read(dataset: MixtureDataset, item: int) -> tuple[int, Tensor, Tensor] | Separated:
    """A mixture with its number and sources, or why it cannot be read."""
    try:
        mixture, sources, _ = dataset[item]
    except Exception as error:  # of any type: a corpus may be a user's own
        return _failed(item, error)
    return item, mixture, sources


def _together(
    model: nn.Module, dataset: MixtureDataset, group: list[tuple[int, Tensor, Tensor]]
) -> Iterator[Separated]:
    try:
        found = _separate(model, torch.stack([mixture for _, mixture, _ in group]))
    except Exception as error:  # of any type: a model may be a user's own
        if len(group) == 1:
            yield _failed(group[0][0], error)
            return
        for one in group:
            yield from _together(model, dataset, [one])
        return
    for (item, mixture, sources), (estimates, figures) in zip(group, found, strict=True):
        fault = _fault(estimates, sources, dataset.names[item])
        yield Separated(item, fault, item_reference(mixture), sources, estimates, figures)


def _separate(model: nn.Module, mixtures: Tensor) -> list[tuple[Tensor, dict[str, float]]]:
    """Estimates [J, T] of each of the mixtures [B, ..., T], on the CPU, and the figures that the model reports."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with torch.inference_mode():
        estimates, figures = separate_with_figures(model, mixtures.to(device))
    numbers = {name: values.tolist() for name, values in figures.items()}
    each = estimates.float().cpu()
    return [(est, {name: float(values[i]) for name, values in numbers.items()}) for i, est in enumerate(each)]


def _failed(item: int, error: Exception) -> Separated:
    nothing = torch.zeros(0)
    fault = str(error) if isinstance(error, StabError) else cause(error)
    return Separated(item, fault, nothing, nothing, nothing, {})


def _fault(estimates: Tensor, sources: Tensor, name: str) -> str:
    """Returns why the estimates of a mixture cannot be measured; empty if they can."""
    wanted = f"the model must give {list(sources.shape)} (sources, samples) for {name!r}, got {list(estimates.shape)}"
    if estimates.shape[:-1] != sources.shape[:-1]:  # so it is for every other mixture
        raise StabError(wanted)
    if estimates.shape != sources.shape:
        return wanted
    return "" if torch.isfinite(estimates).all() else "the estimates are not finite"
