"""Layers of Asteroid's networks for export: the same values, with every size computed from the input's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from asteroid.models.sudormrf import _Padder
from torch import Tensor, nn
from torch.nn.functional import pad


@contextmanager
def open_length(model: nn.Module) -> Iterator[None]:
    """Turns layers of ``model`` into ones that an exporter can follow at any length, within a block.

    SuDoRM-RF's encoder pads by a Python number, which fixes the number of samples that it is exported with.

    Example:
        >>> import torch
        >>> from asteroid_stab.models import sudormrf
        >>> model = sudormrf(n_src=3, n_filters=8, bn_chan=4, num_blocks=1, upsampling_depth=2).eval()
        >>> x = torch.randn(2, 801)
        >>> before = model(x)
        >>> with open_length(model):
        ...     torch.equal(model(x), before), type(model.encoder).__name__
        (True, 'OpenPadder')
        >>> type(model.encoder).__name__
        '_Padder'
    """
    changed = [module for module in model.modules() if type(module) is _Padder]
    for module in changed:
        module.__class__ = OpenPadder
    try:
        yield
    finally:
        for module in changed:
            module.__class__ = _Padder


class OpenPadder(_Padder):
    """Asteroid's padding encoder of SuDoRM-RF.

    Shapes:
        - input ``[B, 1, T]``, output ``[B, N, L]``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Features of the mixtures, padded to a multiple of the strides of all resolutions."""
        whole = (x.shape[-1] + self.lcm - 1) // self.lcm * self.lcm
        return self.encoder(pad(x, (0, whole - x.shape[-1])))
