"""Steps of an optimizer that have nothing to learn from, and must move no weight."""

from __future__ import annotations

from typing import Any

import torch

from asteroid_stab.stabilizers.stabilization import Stabilization


def skip_empty_steps(stab: Stabilization, *optimizers: torch.optim.Optimizer) -> None:
    """Keeps optimizers from moving weights where no item of any process was left since their last step.

    Momentum and weight decay move weights under zero gradients too. In a plain loop, ``if not stab.nothing_left:``
    before ``optimizer.step()`` does the same; this is for loops of a toolkit, and for steps of several batches. It
    waits for the forward pass once a step, while a GPU works on the backward pass.

    Args:
        stab: the training step.
        *optimizers: all optimizers, in the order in which they step.

    Raises:
        ValueError: there is no optimizer.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> from asteroid_stab.losses import ExactPITLossWrapper
        >>> from asteroid_stab.stabilizers import Stabilization, skip_empty_steps
        >>> net = torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.AdamW(net.parameters())
        >>> skip_empty_steps(Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr)), optimizer)
    """
    if not optimizers:
        raise ValueError("skip_empty_steps() needs the optimizers that step, got none")

    def before(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if not stab.progress.mass:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None  # an optimizer leaves a parameter without gradient alone

    def after(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        stab.progress.spend_mass()

    for optimizer in optimizers:
        optimizer.register_step_pre_hook(before)
    optimizers[-1].register_step_post_hook(after)
