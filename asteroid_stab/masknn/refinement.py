"""The iterated blocks of latent refinement, their gates, and the masks of the refined state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from asteroid.masknn import activations
from asteroid.masknn.norms import GlobLN
from asteroid.utils import has_arg
from torch import Tensor, nn

from asteroid_stab.masknn.error_head import ErrorHead
from asteroid_stab.masknn.exit_gate import ExitGate
from asteroid_stab.masknn.sub_blocks import make_sub_block


def mask_head(bn_chan: int, n_masks: int, n_filters: int) -> nn.Sequential:
    """M: from the state ``[B, C, L]`` to the masks ``[B, n_masks * N, L]`` before their activation."""
    return nn.Sequential(nn.PReLU(), nn.Conv1d(bn_chan, n_masks * n_filters, 1))


class RefinementMasker(nn.Module):
    r"""The separation module S, blocks that are each applied several times, and the mask network M behind it.

    .. math:: S = B_N^{(I_N)} \circ \ldots \circ B_1^{(I_1)}

    With gates, all iterations of a block ask the same gate, before they are computed.

    Args:
        n_filters: features of the encoder.
        n_masks: masks of the mixture.
        bn_chan: channels of the state.
        n_blocks: N, blocks with weights of their own.
        n_sub_blocks: K, in each block.
        n_iterations: I_1 to I_N.
        gate_frames: frames that a gate looks at; None makes no gates.
        gate_bias: initial bias of the gates towards "process".
        depth: resolutions in a sub-block.
        mask_act: activation of the masks.
        sub_block: name of the sub-blocks.
        trial_frames: frames to try a sub-block with.
        error_head: whether a network estimates the errors of the outputs from the state.

    Shapes:
        - input ``[B, N, L]``, output: masks ``[B, M, N, L]``.

    References:
        Bralios et al., "Latent iterative refinement for modular source separation", ICASSP 2023, eq. (2) to (10).
    """

    def __init__(
        self,
        n_filters: int,
        n_masks: int,
        bn_chan: int,
        n_blocks: int,
        n_sub_blocks: int,
        n_iterations: Sequence[int],
        gate_frames: int | None,
        gate_bias: float,
        depth: int,
        mask_act: str,
        sub_block: str,
        trial_frames: int,
        error_head: bool = False,
    ):
        super().__init__()
        self.n_masks, self.n_filters, self.n_iterations = n_masks, n_filters, list(n_iterations)
        self.ln = GlobLN(n_filters)
        self.bottleneck = nn.Conv1d(n_filters, bn_chan, 1)

        def block() -> nn.Sequential:  # eq. (4)
            parts = (make_sub_block(sub_block, bn_chan, n_filters, depth, trial_frames) for _ in range(n_sub_blocks))
            return nn.Sequential(*parts)

        self.blocks = nn.ModuleList(block() for _ in range(n_blocks))
        n_gates = 0 if gate_frames is None else n_blocks
        self.gates = nn.ModuleList(ExitGate(bn_chan, gate_frames or 1, gate_bias) for _ in range(n_gates))
        self.mask_net = mask_head(bn_chan, n_masks, n_filters)
        self.error_head = ErrorHead(bn_chan, n_masks) if error_head else None
        activation = activations.get(mask_act)
        self.output_act = activation(dim=1) if has_arg(activation, "dim") else activation()

    def forward(self, tf_rep: Tensor) -> Tensor:
        """The masks of the last block's output."""
        hidden = self.start(tf_rep)
        for block, n in enumerate(self.n_iterations):  # eq. (6)
            hidden, _ = self.refine(hidden, block, n)
        return self.masks(hidden, self.mask_net)

    def start(self, tf_rep: Tensor) -> Tensor:
        """The state h_0 ``[B, C, L]`` before the first block."""
        return self.bottleneck(self.ln(tf_rep))

    def masks(self, hidden: Tensor, mask_net: nn.Module) -> Tensor:
        """Masks ``[B, M, N, L]`` of a state, by a mask network of the caller's choice."""
        return self.output_act(mask_net(hidden).view(hidden.shape[0], self.n_masks, self.n_filters, -1))

    def refine(
        self, hidden: Tensor, block: int, n_iterations: int, dense: bool = False, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The state after the iterations of one block, and the number of iterations that each item took, ``[B]``.

        A gate in evaluation mode decides the same for the same state: the first skip is the exit, and an item that has
        exited is not computed any further.

        Args:
            hidden: the state ``[B, C, L]``.
            block: which one, from 0.
            n_iterations: the largest number of iterations.
            dense: computes every iteration of every item and skips by multiplication, as training does.
            noise: Gumbel noise ``[n_iterations, B, 2]`` of a gate in training mode; None lets the gate draw it.
        """
        if self.gates and not (dense or self.gates[block].training):
            return self._refine_active(hidden, block, n_iterations)
        n_used = hidden.new_zeros(hidden.shape[0], dtype=torch.promote_types(hidden.dtype, torch.float32))
        for refined, g in self.steps(hidden, block, n_iterations, noise):
            hidden, n_used = refined, n_used + g  # eq. (10)
        return hidden, n_used

    def steps(
        self, hidden: Tensor, block: int, n_iterations: int, noise: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """State h_t ``[B, C, L]`` and decision g_t ``[B]`` of each iteration of one block, for every item."""
        for t in range(n_iterations):
            if self.gates:
                g = self.gates[block](hidden, None if noise is None else noise[t])
                keep = g.view(-1, 1, 1)
                hidden = keep * self.blocks[block](hidden) + (1 - keep) * hidden  # eq. (7)
            else:
                hidden, g = self.blocks[block](hidden), hidden.new_ones(hidden.shape[0])  # eq. (3)
            yield hidden, g

    def _refine_active(self, hidden: Tensor, block: int, n_iterations: int) -> tuple[Tensor, Tensor]:
        n_used = torch.zeros(len(hidden), dtype=torch.long, device=hidden.device)
        rows = torch.arange(len(hidden), device=hidden.device)
        active, refined = hidden, torch.empty_like(hidden)
        for _ in range(n_iterations):
            stays = self.gates[block](active) > 0
            if not stays.all():
                refined[rows[~stays]] = active[~stays].to(refined.dtype)
                rows, active = rows[stays], active[stays]
            if not len(rows):
                return refined, n_used
            active = self.blocks[block](active)
            n_used[rows] += 1
        if len(rows) == len(hidden):
            return active, n_used
        refined[rows] = active.to(refined.dtype)
        return refined, n_used
