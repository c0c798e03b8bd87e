"""Sub-blocks, of which a block of a refining network is made: modules by name, with the same shape in and out."""

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
    """Registers a sub-block under a name; model files hold the name, so it must be registered before one is read.

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
    """Builds the sub-block ``name``, and tries it with ``n_frames`` frames.

    Args:
        name: a registered name.
        bn_chan: channels in and out.
        n_filters: channels within.
        depth: resolutions.
        n_frames: frames to try it with.

    Raises:
        StabError: no sub-block has this name, it does not take the frames, or its output has another shape.
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

    Asteroid's block has one for each channel; with one, the block has the 147,074 parameters (without its norms) that
    the papers' tables count.
    """
    block = UConvBlock(bn_chan, n_filters, depth)
    block.final_norm.act = nn.PReLU()
    return block


register_sub_block("uconv", _uconv)
register_sub_block("ublock", UBlock)  # of the first SuDoRM-RF
