"""Counts of an epoch: mean loss of the items, items without a loss, means of further figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.stabilizers.comm import Comm
from asteroid_stab.stabilizers.sums import EpochSums
from asteroid_stab.transfer import Arriving

_FIGURE, _STEPS = "figure/", "steps/"  # before names among the sums, so that figures meet no other sum


@dataclass(frozen=True, eq=False)
class StepReport:
    """Report on one step of all processes: whether an item was left to learn from.

    Its numbers are known after the forward pass and on their way to the host while the backward pass is queued.

    Attributes:
        counts: [3] sum of the unnormalised weights; items with a finite loss; items with a loss that is not finite.
        ids: [B] ids of this process' items; None where the loop gave none.
    """

    counts: Tensor
    ids: Tensor | None = None
    _arriving: Arriving = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_arriving", Arriving(self.counts))

    @property
    def counts_on_host(self) -> Tensor:
        """The counts, on the CPU."""
        return self._arriving.read()

    @property
    def nothing_left(self) -> bool:
        """Whether no item of any process has a weight: skip the optimizer's step, or its momentum moves weights."""
        return not self.counts_on_host[0].item()


class EpochCounts:
    """Counts items and sums losses step by step, on the device.

    Example:
        >>> counts, comm = EpochCounts(), Comm()
        >>> loss = torch.tensor([[1.0, 2.0, 6.0], [float("nan"), 1.0, 2.0]])
        >>> report = counts.add(loss, mass=torch.tensor(2.0), ids=None, figures={"beta": torch.tensor(10.0)}, comm=comm)
        >>> report.nothing_left, counts.figures(comm)
        (False, {'loss': 2.25, 'silent_sources': 1.0, 'nonfinite_items': 0.0, 'beta': 10.0})
    """

    def __init__(self) -> None:
        self._sums = EpochSums()

    @property
    def empty(self) -> bool:
        """Whether no step was added since the start."""
        return not self._sums.names

    def reset(self) -> None:
        """Starts again from zero."""
        self._sums.reset()

    def add(
        self,
        loss: Tensor,
        mass: Tensor,
        ids: Tensor | None,
        figures: Mapping[str, Tensor],
        comm: Comm,
        name: str = "loss",
    ) -> StepReport:
        """Adds a step.

        Args:
            loss: detached losses of this process, [B] or [B, J]; ``nan`` and ``inf`` as in ``Assignment``.
            mass: scalar, sum of the unnormalised weights over all processes.
            ids: [B] ids of the items, for the report.
            figures: scalars, whose mean over the steps that give them is wanted.
            comm: exchange between processes.
            name: of the mean of ``loss``.

        Raises:
            ValueError: a figure has the name of a count or of the loss.
        """
        if taken := {name, "silent_sources", "nonfinite_items"} & figures.keys():
            raise ValueError(f"figures must have names of their own, got {min(taken)!r}, which the step reports itself")
        per_item = item_loss(loss)
        finite, broken = torch.isfinite(per_item), torch.isposinf(per_item)
        self._sums.add(silent_sources=torch.isnan(loss), nonfinite_items=broken)
        self._sums.add(**{name: torch.where(finite, per_item, 0.0), f"{name}_items": finite})
        counts = torch.stack([finite.sum(), broken.sum()]).to(mass)
        if comm.n_ranks > 1:
            counts = comm.gather(counts).sum(0)
        for figure, value in figures.items():
            self._sums.add(**{f"{_FIGURE}{figure}": value, f"{_STEPS}{figure}": mass.new_ones(())})
        return StepReport(torch.cat([mass.detach().reshape(1), counts]), ids)

    def figures(self, comm: Comm, name: str = "loss") -> dict[str, float]:
        """Returns the mean of the loss ``name``, if an item has one, the counts, and the means of the figures.

        Every process calls it, with sums of the same names.
        """
        sums = self._sums.total(sorted({*self._sums.names, name, f"{name}_items"}), comm.gather_or_none)
        figures = {name: sums[name] / sums[f"{name}_items"]} if sums[f"{name}_items"] else {}
        figures |= {count: sums.get(count, 0.0) for count in ("silent_sources", "nonfinite_items")}
        given = [key.removeprefix(_FIGURE) for key in sums if key.startswith(_FIGURE)]
        return figures | {figure: sums[f"{_FIGURE}{figure}"] / sums[f"{_STEPS}{figure}"] for figure in given}

    def state_dict(self) -> dict[str, Any]:
        """Returns the sums by name."""
        return self._sums.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes saved sums."""
        self._sums.load_state_dict(state_dict)
