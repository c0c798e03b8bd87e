"""Makes a model one that gives the estimates of every layer."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from asteroid_stab.errors import StabError
from asteroid_stab.models.layered import LayeredModel
from asteroid_stab.models.layered_hosts import (
    LayeredConvTasNet,
    LayeredDPRNNTasNet,
    LayeredDPTNet,
    LayeredSuDORMRFImprovedNet,
)
from asteroid_stab.models.layered_refiner import LayeredLatentRefinementNet

HEADS = ("shared", "dedicated")
_KINDS: tuple[type[LayeredModel], ...] = (
    LayeredConvTasNet,
    LayeredDPRNNTasNet,
    LayeredDPTNet,
    LayeredSuDORMRFImprovedNet,
    LayeredLatentRefinementNet,
)
_LAYERED = {kind.HOST: kind for kind in _KINDS}


def layered_model(model: nn.Module, head: str = "shared") -> LayeredModel:
    """Makes a model give the estimates of every layer in training; in place, weights untouched.

    Args:
        model: a ConvTasNet, DPRNNTasNet, DPTNet, SuDORMRFImprovedNet or LatentRefinementNet.
        head: ``shared``: the model's head serves every layer; ``dedicated``: each layer before the last has a copy of
            it to itself, which is trained and in the checkpoints, but in no model file.

    Raises:
        StabError: the model is of another kind, ``head`` is none of the two, or dedicated heads are wanted of a model
            whose blocks have their own.

    Example:
        >>> import torch
        >>> from asteroid_stab.models import conv_tasnet
        >>> model = layered_model(conv_tasnet(n_src=3, n_filters=16, n_blocks=2, n_repeats=4, bn_chan=4, hid_chan=8))
        >>> model(torch.randn(2, 800)).shape, model.eval()(torch.randn(2, 800)).shape
        (torch.Size([4, 2, 3, 800]), torch.Size([2, 3, 800]))

    References:
        Gao et al., "Improving label assignments learning by dynamic sample dropout combined with layer-wise
        optimization", arXiv 2311.12199. That the final head serves all layers is our reading: the paper shows layers'
        switches of models that were trained without it.
    """
    kind = host_of(model)
    if head not in HEADS:
        raise StabError(f"head must be one of {', '.join(HEADS)}, got {head!r}")
    plain: Any = model
    if head == "dedicated" and getattr(plain, "own_heads", False):
        raise StabError("head must be 'shared' for a model with own_heads, whose blocks have theirs, got 'dedicated'")
    plain.__class__ = kind
    copies = []
    if head == "dedicated":
        copies = [nn.ModuleDict(copy.deepcopy(plain.own_head())) for _ in range(plain.n_layers - 1)]
    plain.layer_heads = nn.ModuleList(copies)
    return plain


def host_of(model: nn.Module) -> type[LayeredModel]:
    """The class that knows the layers of a model.

    Raises:
        StabError: there is none.
    """
    if type(model) not in _LAYERED:
        known = ", ".join(host.__name__ for host in _LAYERED)
        raise StabError(f"layers are known of {known}, got {type(model).__name__}")
    return _LAYERED[type(model)]
