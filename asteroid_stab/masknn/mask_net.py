"""The mask network of ConvTasNet, for which a GPU is never waited for."""

from __future__ import annotations

import torch
from asteroid.masknn.convolutional import TDConvNet
from torch import Tensor


class UnhaltedTDConvNet(TDConvNet):
    """Asteroid's ``TDConvNet``, which sends a zero to the GPU in each forward pass and so waits for all work before it.

    This one makes the zero on the device; values and parameters are the same.

    Shapes:
        - input [B, N, L], output: masks [B, J, N, L].

    Example:
        >>> net = UnhaltedTDConvNet(in_chan=8, n_src=3, n_blocks=2, n_repeats=1, bn_chan=4, hid_chan=8, skip_chan=4)
        >>> features = torch.randn(2, 8, 20)
        >>> torch.equal(net(features), TDConvNet.forward(net, features))
        True
    """

    def forward(self, mixture_w: Tensor) -> Tensor:  # the host's name
        """The masks."""
        hidden = self.bottleneck(mixture_w)
        skips = torch.zeros(1, device=hidden.device)
        for block in self.TCN:
            made = block(hidden)
            if self.skip_chan:
                made, skip = made
                skips = skips + skip
            hidden = hidden + made
        masks = self.mask_net(skips if self.skip_chan else hidden)
        return self.output_act(masks.view(masks.shape[0], self.n_src, self.out_chan, masks.shape[-1]))
