"""A network that estimates, from the state of a refining network, how large the errors of its outputs are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import glu, softplus

LEAST = 1e-6  # of what is added at each iteration: a softplus may be 0


class ErrorHead(nn.Module):
    r"""Estimates what an iteration adds to the two parameters of the distribution of the outputs' errors.

    .. math:: \alpha_t = \sum_{\tau \le t} a_\tau, \qquad \beta_t = \Bigl(\sum_{\tau \le t} b_\tau\Bigr)^{-1}

    so that later iterations are never less sure, nor expect larger errors. β is relative to the power of the mixture
    (our reading), so that a quieter recording has the same exits.

    A gated convolution over the channels, the mean over the frames, a linear layer and a softplus; the paper has Snake
    as its activation.

    Args:
        n_chan: channels of the state.
        n_slots: outputs of the network, S.

    Shapes:
        - input ``[B, C, L]``, output ``[B, S, 2]``: a and b, above 0.

    Example:
        >>> ErrorHead(8, 2)(torch.randn(3, 8, 20)).shape
        torch.Size([3, 2, 2])

    References:
        Olsen et al., "Knowing when to quit: probabilistic early exits for speech separation", ICLR 2026, arXiv
        2507.09768.
    """

    def __init__(self, n_chan: int, n_slots: int):
        super().__init__()
        self.n_slots = n_slots
        self.by_frame = nn.Conv1d(n_chan, 2 * n_chan, 1)
        self.out = nn.Linear(n_chan, 2 * n_slots)

    def forward(self, hidden: Tensor) -> Tensor:
        """Returns what the iteration adds, in fp32 at least."""
        with torch.autocast(hidden.device.type, enabled=False):
            frames = glu(self.by_frame(hidden.to(self.by_frame.weight.dtype)), dim=1).mean(-1)
            return softplus(self.out(frames)).unflatten(-1, (self.n_slots, 2)).clamp_min(LEAST)


def error_model(added: Tensor, mixture: Tensor) -> tuple[Tensor, Tensor]:
    """α and β of each output, from the sums of what iterations have added; β in the unit of the squared signals.

    Args:
        added: sums ``[..., B, S, 2]``.
        mixture: ``[B, T]``.

    Returns:
        α and β, ``[..., B, S]``.

    Example:
        >>> error_model(torch.tensor([[[2.0, 4.0]]]), torch.full((1, 8), 3.0))
        (tensor([[2.]]), tensor([[2.2500]]))
    """
    power = mixture.to(added.dtype).square().mean(-1).clamp_min(torch.finfo(added.dtype).tiny)
    return added[..., 0], power.unsqueeze(-1) / added[..., 1]
