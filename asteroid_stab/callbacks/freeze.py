"""Parts of a model that are not trained in the first epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from torch.nn import Module, Parameter

from asteroid_stab.errors import StabError, nearest
from asteroid_stab.run.plan import RunPlan


def named_parts(model: Module, parts: Sequence[str]) -> dict[str, list[Parameter]]:
    """The trained parameters of each of the modules or parameters that ``parts`` names.

    Args:
        model: the model.
        parts: dotted names as ``named_modules`` and ``named_parameters`` give them.

    Raises:
        StabError: the model has no such part, or no parameter in it is trained.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1, bias=False))
        >>> [(name, len(found)) for name, found in named_parts(model, ["0", "1.weight"]).items()]
        [('0', 2), ('1.weight', 1)]
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found = {part: [p for name, p in trained.items() if f"{name}.".startswith(f"{part}.")] for part in parts}
    for part, parameters in found.items():
        if not parameters:
            known = [*(name for name, _ in model.named_modules() if name), *dict(model.named_parameters())]
            if part in known:
                raise StabError(f"the model's {part} has nothing that is trained in this run")
            raise StabError(f"the model has no part {part!r}{nearest(part, known)}")
    return found


class FreezeParameters(pl.Callback):
    """Freezes parts of the model for the first epochs: they get no update, and do not count in gradient clipping.

    Afterwards they are trained as if they were new: Adam's momentum starts then. Gradients are computed all the same
    and thrown away, which is correct on several processes but saves no time. Freezing depends on the epoch only, so a
    resumed run needs no state. Running statistics, which normalisations of Asteroid's separators do not have, would
    still be updated.

    Args:
        parts: modules or parameters of the model, e.g. ``encoder``, ``masker.TCN``.
        n_epochs: number of epochs.

    Raises:
        StabError: the model has no such part, or ``n_epochs`` is below 1.
    """

    def __init__(self, parts: Sequence[str], n_epochs: int = 1):
        if n_epochs < 1:
            raise StabError(f"n_epochs must be at least 1, got {n_epochs}")
        if isinstance(parts, str) or not parts:
            raise StabError(f"parts must be a list of names of the model's parts, got {parts!r}")
        self.parts, self.n_epochs = list(parts), n_epochs
        self._frozen: list[Parameter] = []

    def check(self, plan: RunPlan) -> None:
        """Checks that the model has the parts."""
        named_parts(plan.model, self.parts)

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str | None = None) -> None:
        """Looks the parts up."""
        found = named_parts(pl_module.model, self.parts)
        self._frozen = [parameter for parameters in found.values() for parameter in parameters]

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        """Removes the gradients of the frozen parts, so that no optimizer changes them."""
        if trainer.current_epoch < self.n_epochs:
            for parameter in self._frozen:
                parameter.grad = None
