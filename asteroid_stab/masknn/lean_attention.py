"""The layer of DPTNet, whose attention keeps no matrix of its weights."""

from __future__ import annotations

from asteroid.masknn.attention import ImprovedTransformedLayer
from torch import Tensor


class LeanTransformedLayer(ImprovedTransformedLayer):
    """Asteroid's ``ImprovedTransformedLayer``, which asks for the attention weights and leaves them unused.

    Without them, torch takes its fused attention: in less memory, and in less time on a CPU and a GPU.

    Shapes:
        - input and output [B, C, L].

    Example:
        >>> import torch
        >>> layer, x = LeanTransformedLayer(embed_dim=8, n_heads=2, dim_ff=4), torch.randn(2, 8, 20)
        >>> torch.allclose(layer(x), ImprovedTransformedLayer.forward(layer, x), atol=1e-6)
        True
    """

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output."""
        frames = x.permute(2, 0, 1)
        attended = self.mha(frames, frames, frames, need_weights=False)[0].permute(1, 2, 0)
        x = self.norm_mha(self.dropout(attended) + x)
        hidden = self.activation(self.recurrent(x.mT)[0])
        return self.norm_ff(self.dropout(self.linear(self.dropout(hidden)).mT) + x)
