"""The layers of a refining network: its iterations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from asteroid_stab.errors import StabError
from asteroid_stab.masknn.error_head import error_model
from asteroid_stab.models.layered import LayeredModel
from asteroid_stab.models.refiner import LatentRefinementNet
from asteroid_stab.models.refiner_parts import counts


class LayeredLatentRefinementNet(LayeredModel, LatentRefinementNet):
    """A layer is an iteration of a block, so that K is the sum of the iterations of all blocks.

    The decoder mixes the sources and belongs to the head. With ``own_heads`` a layer has the head of its block; in a
    stage, the layers of the blocks before it have no gradient.
    """

    HEAD, HOST = ("mask_net",), LatentRefinementNet

    @property
    def n_layers(self) -> int:
        """K with the constructor's iterations."""
        return sum(self.n_iterations[: self.depth])

    def own_head(self) -> dict[str, nn.Module]:
        return {**super().own_head(), "decoder": self.decoder}

    def forward(
        self, wav: Tensor, n_iterations: int | Sequence[int] | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """Estimates ``[K, B, J + 1, T]`` in training mode, else the plain model's; the arguments are the same.

        Raises:
            StabError: an argument does not fit, or training asks for no iteration at all.
        """
        return LatentRefinementNet.forward(self, wav, n_iterations, lengths)

    def layers(self, tf_rep: Tensor) -> Iterator[Tensor]:
        return (hidden for hidden, _ in self.trace(tf_rep, self.n_iterations))

    def masks(self, hidden: Tensor, tf_rep: Tensor, head: Mapping[str, nn.Module]) -> Tensor:
        return self.masker.masks(hidden, head["mask_net"])

    def _estimate(
        self, mixture: Tensor, per_block: Sequence[int], dense: bool, noise: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor]:
        if not self.training:
            return super()._estimate(mixture, per_block, dense, noise)
        return self._traced(mixture, per_block, noise)[:2]

    def forward_with_errors(
        self, wav: Tensor, n_iterations: Sequence[int] | None = None
    ) -> tuple[Tensor, dict[str, Tensor], tuple[Tensor, Tensor]]:
        """Returns estimates and figures of a training step, and α and β of each of its estimates, ``[K, B, S]``.

        Args:
            wav: mixtures ``[B, T]``.
            n_iterations: for each block; None takes the constructor's.

        Raises:
            StabError: the model has no network for errors, or training asks for no iteration at all.
        """
        if self.masker.error_head is None:
            raise StabError("the errors of estimates need a network for them: model.snr_exit=true")
        per_block = self.n_iterations if n_iterations is None else counts(n_iterations, self.n_blocks, least=0)
        est, n_used, hidden = self._traced(wav.unsqueeze(1), per_block, [None] * self.depth)
        added = torch.stack([self.masker.error_head(h) for h in hidden]).cumsum(0)
        figures = {"n_iterations": n_used, "n_sub_blocks": n_used * self.n_sub_blocks}
        return est, figures, error_model(added, wav)

    def _traced(
        self, mixture: Tensor, per_block: Sequence[int], noise: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
        """Estimates of every iteration, the number of iterations of each item, and the states."""
        if not any(per_block[: self.depth]):
            raise StabError(f"layers need an iteration at least, got n_iterations={list(per_block)}")
        tf_rep = self.forward_encoder(mixture)
        hidden, g = zip(*self.trace(tf_rep, per_block, noise), strict=True)
        heads = [self.head(block + 1) for block, n in enumerate(per_block[: self.depth]) for _ in range(n)]
        heads[-1] = self.head(self.depth)  # as in the plain model, also where the last block has no iteration
        return self.decode_layers(hidden, tf_rep, mixture, heads), torch.stack(g).sum(0), hidden  # eq. (10)

    def _decode(self, hidden: Tensor, tf_rep: Tensor, mixture: Tensor, head: Mapping[str, nn.Module]) -> Tensor:
        return self.decode(hidden, tf_rep, mixture, head)
