"""A separator as a program of torch.export: what is traced, at which sizes, and why some are fixed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from asteroid_stab.errors import StabError, cause
from asteroid_stab.masknn.open_length import open_length

LEAST_S = 0.1
"""The shortest recording that a program of open length takes, in seconds."""
_TRACED_ITEMS = 3


class Separator(nn.Module):
    """A model as it is exported: one input, one output, and no decision that depends on the sound.

    A model whose evaluation leaves out what an item does not need (``forward_dense``) is exported with all of it.

    Args:
        model: maps mixtures to estimates.

    Shapes:
        - input ``[B, T]``, output ``[B, J, T]``.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, mixture: Tensor) -> Tensor:
        """The estimates."""
        separate: Any = getattr(self.model, "forward_dense", self.model)
        return separate(mixture)


@dataclass(frozen=True)
class Sizes:
    """The mixtures ``[B, T]`` that a program takes.

    Attributes:
        n_samples: T; None: any of at least ``least``.
        least: the smallest T.
        why_fixed: why T and B are fixed; empty where they are open, or the user wants it so.
    """

    n_samples: int | None
    least: int
    why_fixed: str = ""

    @property
    def rule(self) -> str:
        """The sizes in words, for people and for the file's metadata."""
        if self.n_samples is None:
            return f"[batch, samples]: any batch, at least {self.least} samples"
        return f"[1, {self.n_samples}]: one mixture of exactly {self.n_samples} samples"

    def trials(self) -> list[tuple[int, int]]:
        """Three sizes (B, T) to compare at; the one size where they are fixed."""
        if self.n_samples is not None:
            return [(1, self.n_samples)]
        return [(1, self.least), (2, 7 * self.least + 13), (1, 20 * self.least + 1)]


def trace(model: nn.Module, sample_rate: float, n_samples: int, is_fixed: bool) -> tuple[ExportedProgram, Sizes]:
    """Exports a model: with batch and length open where it can be followed at any size, else at one size.

    Args:
        model: in evaluation mode, on the CPU.
        sample_rate: in Hz.
        n_samples: the length in samples where it has to be fixed.
        is_fixed: fix it in any case.

    Raises:
        StabError: the model cannot be exported.
    """
    least = max(2, round(LEAST_S * sample_rate))
    reason = "" if is_fixed else _obstacle(model)
    if not is_fixed and not reason:
        open_sizes = {"mixture": {0: Dim("batch"), 1: Dim("samples", min=least)}}
        try:
            return _export(model, (_TRACED_ITEMS, 5 * least + 1), open_sizes), Sizes(None, least)
        except Exception as error:  # of many types: torch's, sympy's, and the model's own
            reason = f"torch.export cannot follow it at any length ({cause(error)[:200]})"
    try:
        return _export(model, (1, n_samples), None), Sizes(n_samples, n_samples, reason)
    except Exception as error:
        raise StabError(
            f"{type(model).__name__} cannot be exported for {n_samples} samples: {cause(error)[:300]}"
        ) from error


def _obstacle(model: nn.Module) -> str:
    """Why a model has no open length; empty where nothing is known against it."""
    recurrent = next((type(part).__name__ for part in model.modules() if isinstance(part, nn.RNNBase)), None)
    return f"it has {recurrent} layers, whose number of steps torch.export fixes" if recurrent else ""


def _export(model: nn.Module, shape: tuple[int, int], sizes: Any) -> ExportedProgram:
    mixture = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), open_length(model), _no_gradients(model):
        program = torch.export.export(
            Separator(model), (mixture,), dynamic_shapes=sizes, prefer_deferred_runtime_asserts_over_guards=True
        )
    for node in program.graph.nodes:  # paths of this machine
        node.meta.pop("stack_trace", None)
    return program


@contextmanager
def _no_gradients(model: nn.Module) -> Iterator[None]:
    """Takes no gradient of the parameters within a block: a program would keep where it starts and ends."""
    trained = [one for one in model.parameters() if one.requires_grad]
    for one in trained:
        one.requires_grad_(False)
    try:
        yield
    finally:
        for one in trained:
            one.requires_grad_(True)
