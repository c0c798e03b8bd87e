"""The gate of latent iterative refinement: whether a signal needs another pass of a block."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from asteroid_stab.errors import StabError

PROCESS = 0
"""The channel of "process"; the other one is "skip"."""


class ExitGate(nn.Module):
    """Decides for each item, from the state between blocks: 1 to process and 0 to skip.

    In training mode the decision is drawn, and its gradient is the gradient of the softmax (straight through); the
    noise comes from torch's global generator or from the caller. In evaluation mode the larger score decides, so that
    the same state always gets the same decision. Equal scores mean "process". Scores, noise and softmax are in fp32
    under autocast too, because the noise may be infinite in half precision.

    The second convolution spans the whole signal, ``n_frames``. A signal of another length is interpolated linearly to
    this length between the two convolutions (our reading: the paper has one length only), so that it gets one decision
    as well.

    Args:
        n_chan: channels of the state.
        n_frames: frames that the gate looks at; the paper's segments of 4 s have 3200.
        process_bias: added to the initial score of "process" (our reading): with a value above 0, a gate that is added
            to a trained network processes at first. 0 keeps PyTorch's initial values.

    Shapes:
        - input ``[B, C, L]`` of any L above 0, output ``[B]``.

    Raises:
        StabError: a size is below 1; a state or its noise has another shape.

    Example:
        >>> gate = ExitGate(n_chan=3, n_frames=50, process_bias=100.0).eval()
        >>> gate(torch.randn(2, 3, 50)), gate(torch.randn(2, 3, 70))
        (tensor([1., 1.]), tensor([1., 1.]))

    References:
        Bralios et al., "Latent iterative refinement for modular source separation", ICASSP 2023, arXiv 2211.11917,
        eq. (9) and section 4.3; Jang, Gu, Poole, "Categorical reparameterization with Gumbel-softmax", ICLR 2017.
    """

    def __init__(self, n_chan: int = 128, n_frames: int = 3200, process_bias: float = 0.0):
        super().__init__()
        for name, value in (("n_chan", n_chan), ("n_frames", n_frames)):
            if value < 1:
                raise StabError(f"{name} of an exit gate must be at least 1, got {value}")
        self.n_frames = n_frames
        self.by_frame = nn.Conv1d(n_chan, 2, 1)
        self.act = nn.PReLU()
        self.over_frames = nn.Conv1d(2, 2, n_frames)
        with torch.no_grad():
            assert self.over_frames.bias is not None
            self.over_frames.bias[PROCESS] += process_bias

    def scores(self, hidden: Tensor) -> Tensor:
        """Scores F(h) ``[B, 2]``, in fp32 at least.

        Raises:
            StabError: the state is not ``[B, C, L]`` with this gate's channels and at least one frame.
        """
        n_chan = self.by_frame.in_channels
        if hidden.ndim != 3 or hidden.shape[1] != n_chan or hidden.shape[2] == 0:
            raise StabError(f"an exit gate needs frames [B, {n_chan}, L] with L above 0, got {list(hidden.shape)}")
        with torch.autocast(hidden.device.type, enabled=False):
            frames = self.act(self.by_frame(hidden.to(self.by_frame.weight.dtype)))
            if frames.shape[-1] != self.n_frames:
                frames = interpolate(frames, self.n_frames, mode="linear", align_corners=False)
            scores = self.over_frames(frames).squeeze(-1)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def forward(self, hidden: Tensor, noise: Tensor | None = None) -> Tensor:
        """Decision g, 0 or 1 for each item; training adds Gumbel noise ``[B, 2]``, drawn where none is given."""
        scores = self.scores(hidden)
        if not self.training:
            return self._decision(scores)
        if noise is not None and noise.shape != scores.shape:
            raise StabError(f"the gate's noise must be {list(scores.shape)}, got {list(noise.shape)}")
        if noise is None:
            # exponential_ may give 0, whose logarithm would make the softmax NaN.
            noise = -torch.empty_like(scores).exponential_().clamp_min(torch.finfo(scores.dtype).tiny).log()
        noisy = scores + noise  # eq. (9)
        soft = noisy.softmax(1)[:, PROCESS]
        return self._decision(noisy) + (soft - soft.detach())

    @staticmethod
    def _decision(scores: Tensor) -> Tensor:
        return (scores[:, PROCESS] >= scores[:, 1 - PROCESS]).to(scores.dtype)
