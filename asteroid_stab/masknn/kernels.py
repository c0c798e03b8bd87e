"""Layers of a network turned into those that compute the same in less time, and back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from asteroid.masknn.attention import ImprovedTransformedLayer
from asteroid.masknn.convolutional import TDConvNet
from asteroid.masknn.norms import GlobLN
from asteroid_filterbanks import Decoder
from torch import nn

from asteroid_stab.masknn.fast_layers import FastPReLU, ShiftedConv1d
from asteroid_stab.masknn.lean_attention import LeanTransformedLayer
from asteroid_stab.masknn.mask_net import UnhaltedTDConvNet
from asteroid_stab.masknn.mixing_decoder import FoldedMixingDecoder, MixingDecoder
from asteroid_stab.masknn.norms import FusedGlobLN
from asteroid_stab.masknn.overlap_add import FoldedDecoder

STOCK_KERNELS = "ASTEROID_STAB_STOCK_KERNELS"
"""Environment variable; 1 keeps the layers of torch and Asteroid."""


def _all(layer: nn.Module) -> bool:
    return True


FAST: dict[Any, tuple[Any, Callable[[Any], bool]]] = {
    GlobLN: (FusedGlobLN, _all),
    nn.PReLU: (FastPReLU, FastPReLU.serves),
    nn.Conv1d: (ShiftedConv1d, ShiftedConv1d.serves),
    Decoder: (FoldedDecoder, FoldedDecoder.serves),
    MixingDecoder: (FoldedMixingDecoder, _all),
    TDConvNet: (UnhaltedTDConvNet, _all),
    ImprovedTransformedLayer: (LeanTransformedLayer, _all),
}
"""For each kind of layer the faster one, a subclass of it, and which layers of the kind it can take the place of."""


def use_fast_kernels(model: nn.Module) -> nn.Module:
    """Turns layers of ``model`` into faster ones, in place, by :data:`FAST`; parameters and their names stay.

    Values and gradients agree up to rounding; gradients of gradients are refused by some. The model is built by
    Asteroid and changed afterwards, so that its files still name Asteroid's layers. With the environment variable
    ``ASTEROID_STAB_STOCK_KERNELS=1`` nothing is changed.

    Example:
        >>> model = nn.Sequential(nn.Conv1d(4, 4, 3, padding=2, dilation=2, groups=4), nn.PReLU(), nn.Conv1d(4, 4, 1))
        >>> [type(layer).__name__ for layer in use_fast_kernels(model)]
        ['ShiftedConv1d', 'FastPReLU', 'Conv1d']
    """
    if os.environ.get(STOCK_KERNELS) == "1":
        return model
    for module in model.modules():
        fast, serves = FAST.get(type(module), (None, _all))
        if fast is not None and serves(module):
            module.__class__ = fast
    return model


@contextmanager
def stock_kernels(model: nn.Module) -> Iterator[None]:
    """Turns the faster layers of ``model`` back into torch's and Asteroid's within a block.

    Other programs know those: counters of operations, and exporters.

    Example:
        >>> model = use_fast_kernels(nn.Sequential(nn.PReLU()))
        >>> with stock_kernels(model):
        ...     type(model[0]).__name__
        'PReLU'
        >>> type(model[0]).__name__
        'FastPReLU'
    """
    stock = {fast: kind for kind, (fast, _) in FAST.items()}
    changed = [(module, type(module)) for module in model.modules() if type(module) in stock]
    for module, kind in changed:
        module.__class__ = stock[kind]
    try:
        yield
    finally:
        for module, kind in changed:
            module.__class__ = kind
