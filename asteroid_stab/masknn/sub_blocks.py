"""What a block of a refining network is made of: modules by name, with the same shape in and out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from asteroid.masknn.convolutional import UBlock, UConvBlock
from torch import nn

from asteroid_stab.errors import StabError, nearest

SubBlockMaker = Callable[[int, int, int], nn.Module]
"""From (channels between blocks, channels within, resolutions) to a module ``[B, C, L] -> [B, C, L]``."""

_MAKERS: dict[str, SubBlockMaker] = {}


def register_sub_block(name: str, maker: SubBlockMaker) -> None:
    """Makes a sub-block known by ``name``; a model file names it, so it must be registered before the file is read.

    Raises:
        ValueError: the name is taken.

    Example:
        >>> register_sub_block("example", lambda bn_chan, n_filters, depth: nn.Conv1d(bn_chan, bn_chan, 3, padding=1))
        >>> make_sub_block("example", 4, 8, 2, n_frames=10)(torch.randn(2, 4, 10)).shape
        torch.Size([2, 4, 10])
        >>> del _MAKERS["example"]
    """
    if name in _MAKERS:
        raise ValueError(f"a sub-block {name!r} is registered already")
    _MAKERS[name] = maker


def make_sub_block(name: str, bn_chan: int, n_filters: int, depth: int, n_frames: int) -> nn.Module:
    """The sub-block ``name``, which has been given ``n_frames`` frames and has given as many.

    Args:
        name: one that is registered.
        bn_chan: channels in and out.
        n_filters: channels within.
        depth: resolutions.
        n_frames: frames to try it with.

    Raises:
        StabError: there is none of this name, it does not take these, or what it gives has another shape.
    """
    if name not in _MAKERS:
        raise StabError(f"sub_block must be one of {', '.join(_MAKERS)}, got {name!r}{nearest(name, _MAKERS)}")
    block = _MAKERS[name](bn_chan, n_filters, depth)
    given = torch.zeros(1, bn_chan, n_frames)
    try:
        with torch.no_grad():
            got = block.eval()(given)
    except (RuntimeError, ValueError, TypeError) as error:
        raise StabError(f"a sub-block must take {list(given.shape)}, {name!r} does not: {error}") from error
    shape = list(got.shape) if isinstance(got, torch.Tensor) else type(got).__name__
    if shape != list(given.shape):
        raise StabError(f"a sub-block must keep its input's shape, got {shape} of {list(given.shape)} from {name!r}")
    return block.train()


def _uconv(bn_chan: int, n_filters: int, depth: int) -> UConvBlock:
    """The improved SuDoRM-RF's block with one slope in its last PReLU.

    The host's has one for each channel; with one, the block has the 147,074 parameters (but for those of its norms)
    that the papers' tables count.
    """
    block = UConvBlock(bn_chan, n_filters, depth)
    block.final_norm.act = nn.PReLU()
    return block


register_sub_block("uconv", _uconv)
register_sub_block("ublock", UBlock)  # of the first SuDoRM-RF
