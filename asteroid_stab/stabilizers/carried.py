"""The state of the training step in checkpoints of a toolkit that knows models and optimizers only."""

from __future__ import annotations

from typing import Any

import torch

from asteroid_stab.errors import StabError
from asteroid_stab.stabilizers.stabilization import Stabilization

_KEY = "stabilization"


def carry_state(stab: Stabilization, optimizer: torch.optim.Optimizer) -> None:
    """Puts the state of a stabilization into an optimizer's: what saves and loads the one does so with the other.

    For toolkits whose checkpoints hold the states of model and optimizers, and nothing besides. (A model's state is no
    place for it: toolkits average those, entry by entry.)

    Args:
        stab: the training step.
        optimizer: of which a checkpoint holds the state.

    Raises:
        StabError: when a state is loaded: the optimizer had none of a stabilization.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> from asteroid_stab.losses import ExactPITLossWrapper
        >>> optimizer = torch.optim.Adam([torch.zeros(1)])
        >>> carry_state(Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr)), optimizer)
        >>> sorted(optimizer.state_dict())
        ['param_groups', 'stabilization', 'state']
    """

    def add(optimizer: torch.optim.Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
        return {**state_dict, _KEY: stab.state_dict()}

    def take(optimizer: torch.optim.Optimizer, state_dict: dict[str, Any]) -> None:
        if _KEY not in state_dict:
            raise StabError(
                "this checkpoint was written without a stabilization, so the training cannot go on: train from the "
                "start, or from the weights of its model"
            )
        stab.load_state_dict(state_dict.pop(_KEY))

    optimizer.register_state_dict_post_hook(add)
    optimizer.register_load_state_dict_pre_hook(take)
