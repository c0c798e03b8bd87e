"""The training step in a loop of Hugging Face Accelerate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.integrations import missing
from asteroid_stab.items import Items
from asteroid_stab.losses import AssignmentLossWrapper
from asteroid_stab.stabilizers import Comm, Stabilization, StepObserver, skip_empty_steps

try:
    from accelerate import Accelerator
except ImportError as error:
    raise missing(__name__, error, "pip install accelerate") from error


class AcceleratorComm(Comm):
    """Exchange between the processes of an accelerator.

    Args:
        accelerator: of the loop.
    """

    def __init__(self, accelerator: Accelerator):
        self.accelerator = accelerator

    @property
    def rank(self) -> int:
        return self.accelerator.process_index

    @property
    def n_ranks(self) -> int:
        return self.accelerator.num_processes

    def gather(self, values: Tensor) -> Tensor:
        return self.accelerator.gather(values.detach().unsqueeze(0).contiguous())

    def reduce_max(self, values: Tensor) -> Tensor:
        return self.gather(values).amax(0)


def stabilized(
    accelerator: Accelerator,
    loss: AssignmentLossWrapper,
    stabilizers: Iterable[StepObserver] = (),
    items: int | Sized | Iterable[Any] | Items | None = None,
    optimizers: Sequence[torch.optim.Optimizer] = (),
) -> Stabilization:
    """Returns the training step of a loop that an accelerator drives.

    ``accelerator.save_state`` and ``load_state`` keep it. Loaders need ``drop_last=True``: to make the last batches
    even, Accelerate repeats items of the first ones.

    Args:
        accelerator: of the loop.
        loss: assignment and loss; where it has parameters, ``prepare`` it as a model.
        stabilizers: what weighs or observes the steps.
        items: as of :class:`~asteroid_stab.stabilizers.Stabilization`.
        optimizers: all optimizers, which then leave the weights alone where no item was left since their last step.

    Raises:
        StabError: a part that remembers items is given none, or items without stable ids.
    """
    stab = Stabilization(loss, stabilizers, items, AcceleratorComm(accelerator))
    accelerator.register_for_checkpointing(stab)
    if optimizers:
        skip_empty_steps(stab, *optimizers)
    return stab
