"""Turns a model into one that returns the estimates of every layer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import nn

from asteroid_stab.errors import StabError
from asteroid_stab.models.hosted import HostedModel
from asteroid_stab.models.layer_search import name_layers
from asteroid_stab.models.layered import LayeredModel
from asteroid_stab.models.layered_hosted import LayeredHostedModel
from asteroid_stab.models.layered_hosts import (
    LayeredConvTasNet,
    LayeredDPRNNTasNet,
    LayeredDPTNet,
    LayeredMultiMicConvTasNet,
    LayeredSuDORMRFImprovedNet,
)
from asteroid_stab.models.layered_refiner import LayeredLatentRefinementNet

HEADS = ("shared", "dedicated")
_KINDS: tuple[type[LayeredModel], ...] = (
    LayeredConvTasNet,
    LayeredMultiMicConvTasNet,
    LayeredDPRNNTasNet,
    LayeredDPTNet,
    LayeredSuDORMRFImprovedNet,
    LayeredLatentRefinementNet,
)
_LAYERED = {kind.HOST: kind for kind in _KINDS}


def layered_model(
    model: nn.Module, head: str = "shared", layers: str | Sequence[str] | None = None
) -> LayeredModel | LayeredHostedModel:
    """Makes a model return the estimates of every layer in training; in place, with the same weights.

    Args:
        model: a ConvTasNet, MultiMicConvTasNet, DPRNNTasNet, DPTNet, SuDORMRFImprovedNet or LatentRefinementNet, whose
            layers are known; or a HostedModel.
        head: ``shared``: the model's head serves every layer; ``dedicated``: each layer before the last has its own
            copy (a hosted net, whose head is not known: a mask head), which is trained and saved in checkpoints, but
            not in model files.
        layers: of a HostedModel, names of modules of its net, or patterns (``blocks.*``), see
            :class:`~asteroid_stab.models.LayeredHostedModel`.

    Raises:
        StabError: the model is of another kind, ``head`` is neither, or ``head`` is ``dedicated`` and the model's
            blocks have their own heads; or the layers of a hosted net cannot be found, or have no estimates.

    Example:
        >>> import torch
        >>> from asteroid_stab.models import conv_tasnet
        >>> model = layered_model(conv_tasnet(n_src=3, n_filters=16, n_blocks=2, n_repeats=4, bn_chan=4, hid_chan=8))
        >>> model(torch.randn(2, 800)).shape, model.eval()(torch.randn(2, 800)).shape
        (torch.Size([4, 2, 3, 800]), torch.Size([2, 3, 800]))

    References:
        Gao et al., "Improving label assignments learning by dynamic sample dropout combined with layer-wise
        optimization", arXiv 2311.12199. It is our reading that the final head serves all layers: the paper shows the
        layers' switches of models that were trained without layer-wise losses.
    """
    if head not in HEADS:
        raise StabError(f"head must be one of {', '.join(HEADS)}, got {head!r}")
    if type(model) is HostedModel:
        return name_layers(model, layers, head)
    kind = host_of(model)
    if layers:
        raise StabError(f"the layers of {kind.HOST.__name__} are known: layers must be null, got {layers!r}")
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
        StabError: no class does.
    """
    if type(model) not in _LAYERED:
        known = ", ".join(host.__name__ for host in _LAYERED)
        raise StabError(
            f"layers are known of {known}, got {type(model).__name__}; another net has them where it is hosted "
            "(asteroid_stab.models.hosted)"
        )
    return _LAYERED[type(model)]
