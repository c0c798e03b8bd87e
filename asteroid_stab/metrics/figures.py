"""Figures that a model reports of each item beside its estimates, such as how much it computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from asteroid_stab.metrics.names import FigureInfo


@runtime_checkable
class ModelWithFigures(Protocol):
    """A model that reports figures of each item.

    It is any module that maps ``[B, T]`` to ``[B, J, T]`` and has these two members; nothing is registered. An
    evaluation writes each figure as a column of ``utterances.csv`` and its mean and percentiles into
    ``summary.json``; the report and ``compare --by-snr`` show them under their labels.

    Attributes:
        figures: how each figure is shown, by its name, which is the name of its column.

    Example:
        >>> import torch
        >>> class Halving(nn.Module):
        ...     figures = {"n_passes": FigureInfo("passes", digits=0, most=3, is_cost=True)}
        ...
        ...     def forward(self, mixture):
        ...         return self.forward_with_figures(mixture)[0]
        ...
        ...     def forward_with_figures(self, mixture):
        ...         return mixture.unsqueeze(1) / 2, {"n_passes": torch.ones(len(mixture))}
        >>> isinstance(Halving(), ModelWithFigures), isinstance(nn.Identity(), ModelWithFigures)
        (True, False)
        >>> separate_with_figures(Halving(), torch.ones(3, 8))[1]
        {'n_passes': tensor([1., 1., 1.])}
    """

    @property
    def figures(self) -> Mapping[str, FigureInfo]: ...

    def forward_with_figures(self, mixture: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Estimates, as ``forward`` gives them, and each declared figure of each item, ``[B]``."""
        ...


def figures_of(model: nn.Module) -> dict[str, FigureInfo]:
    """The figures that a model declares; none for most models.

    Raises:
        ValueError: more than one figure is declared to be the cost.
    """
    declared = dict(model.figures) if isinstance(model, ModelWithFigures) else {}
    costs = [name for name, info in declared.items() if info.is_cost]
    if len(costs) > 1:
        raise ValueError(f"one figure of {type(model).__name__} may be the cost, got {', '.join(costs)}")
    return declared


def separate_with_figures(model: nn.Module, mixture: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Estimates and figures of a batch; no figures where the model reports none.

    Raises:
        ValueError: the model reports other figures than it declares, or not one number for each item.
    """
    if not isinstance(model, ModelWithFigures):
        return model(mixture), {}
    estimates, figures = model.forward_with_figures(mixture)
    declared = figures_of(model)
    if set(figures) != set(declared):
        raise ValueError(f"{type(model).__name__} must report its figures {[*declared]}, got {[*figures]}")
    for name, values in figures.items():
        if values.shape != mixture.shape[:1]:
            raise ValueError(f"figure {name!r} must be [{len(mixture)}], one for each item, got {list(values.shape)}")
    return estimates, figures
