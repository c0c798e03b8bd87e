"""Training of a refining network in stages: blocks one after the other, each with its own head."""

from __future__ import annotations

from collections.abc import Mapping

from asteroid.models.base_models import BaseEncoderMaskerDecoder
from torch import nn

from asteroid_stab.errors import StabError
from asteroid_stab.masknn import RefinementMasker
from asteroid_stab.metrics.names import FigureInfo
from asteroid_stab.models.refiner_figures import refiner_figures
from asteroid_stab.models.refiner_parts import counts


class StagedModel(BaseEncoderMaskerDecoder):
    """A refining model that is trained as a whole or in stages: each stage trains one block, behind the trained ones.

    Args:
        encoder: waveforms to features.
        masker: the blocks, their gates and the mask network of the last block's head.
        decoder: masked features to waveforms, of the last block's head.
        early_heads: ``mask_net`` and ``decoder`` of each block before the last; empty where all blocks share one head.
        n_iterations: of each block, unless a call names others.
        n_sub_blocks: in each block.
        own_heads: whether each block has a head of its own.

    Attributes:
        n_src: number of sources, without the noise.
        exit_snri_db: SNR improvement at which an item exits, in dB; None: no item exits by it.
        exit_probability: with which each speaker must have it.
    """

    n_src: int
    exit_snri_db: float | None = None
    exit_probability: float = 0.9

    def __init__(
        self,
        encoder: nn.Module,
        masker: RefinementMasker,
        decoder: nn.Module,
        early_heads: nn.ModuleList,
        n_iterations: list[int],
        n_sub_blocks: int,
        own_heads: bool,
    ):
        super().__init__(encoder, masker, decoder)
        self.early_heads, self.own_heads = early_heads, own_heads
        self.n_iterations, self.n_blocks, self.n_sub_blocks = n_iterations, len(n_iterations), n_sub_blocks
        self._stage = 0

    def head(self, n_blocks: int) -> Mapping[str, nn.Module]:
        """The mask network M and the decoder D of the model of the first ``n_blocks`` blocks."""
        if self.own_heads and n_blocks < self.n_blocks:
            return dict(self.early_heads[n_blocks - 1].items())  # type: ignore[operator]
        return {"mask_net": self.masker.mask_net, "decoder": self.decoder}

    @property
    def stage(self) -> int | None:
        """The block that is trained alone, from 1; None where all blocks are trained."""
        return self._stage or None

    @property
    def depth(self) -> int:
        """Number of blocks that are computed: all, or the first ones up to the block of the stage."""
        return self._stage or self.n_blocks

    @property
    def figures(self) -> dict[str, FigureInfo]:
        """Titles and units of ``n_iterations`` and ``n_sub_blocks``; gates may leave some iterations out."""
        return refiner_figures(sum(self.n_iterations[: self.depth]), self.n_sub_blocks)

    @property
    def trained_iterations(self) -> int:
        """Iterations in a call of the blocks that are trained: all blocks, or the block of the stage."""
        return sum(self.n_iterations[self._n_frozen : self.depth])

    @property
    def variants(self) -> dict[str, str]:
        """The kinds of variants that ``evaluate --variant`` and ``separate --variant`` may name."""
        own = {"iterationsN": "N iterations of every block in place of its own; a gate may exit earlier"}
        snri = {"snriN": "exits at an SNR improvement of N dB, as the network expects it"}
        return {**own, **(snri if self.masker.error_head is not None else {})}

    def apply_variant(self, word: str) -> None:
        """Makes the number in ``iterationsN`` the number of iterations of every block, in ``snriN`` the exit in dB.

        Raises:
            StabError: a number of iterations is below 1.
        """
        if word.startswith("snri"):
            self.exit_snri_db = float(word.removeprefix("snri"))
            return
        self.n_iterations = counts(int(word.removeprefix("iterations")), self.n_blocks, least=1)
        self.masker.n_iterations = list(self.n_iterations)

    @property
    def _n_frozen(self) -> int:
        return max(0, self._stage - 1)

    def train_stage(self, n: int | None) -> None:
        """Trains only block ``n``, its gate and its head, and computes no block after it; None trains all blocks.

        Stage 1 trains encoder, norm and bottleneck as well. The blocks before a stage's block are computed without a
        gradient and in evaluation mode, gates included, so that their output stays as their own stage left it.
        Parameters that are not trained have ``requires_grad`` off: each stage needs a new optimizer. The stage is in
        no checkpoint: the training loop sets it. A model file that is written in a stage holds the model of the blocks
        trained so far.

        Raises:
            StabError: there is no such block; the blocks share one head, which later stages would change.

        References:
            Bralios et al., section 2.2.
        """
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= self.n_blocks):
            raise StabError(f"stage must be from 1 to n_blocks={self.n_blocks}, or None, got {n!r}")
        if n is not None:
            self.check_stages()
        self._stage = n or 0
        for part in (self.encoder, self.masker, self.decoder, self.early_heads):
            part.requires_grad_(n is None)
        if n is not None:
            for part in (*(self._before() if n == 1 else ()), *self._block(n - 1), *self.head(n).values()):
                part.requires_grad_(True)
        self.train(self.training)

    def check_stages(self) -> None:
        """Checks that the blocks can be trained one after the other.

        Raises:
            StabError: they share one head.
        """
        if self.n_blocks > 1 and not self.own_heads:
            raise StabError("train_stage needs own_heads=true: later stages would change the head of the earlier ones")

    def _before(self) -> tuple[nn.Module, ...]:
        return self.encoder, self.masker.ln, self.masker.bottleneck

    def _block(self, index: int) -> tuple[nn.Module, ...]:
        gates = self.masker.gates
        errors = self.masker.error_head
        return (self.masker.blocks[index], *([gates[index]] if gates else []), *([errors] if errors else []))

    def train(self, mode: bool = True) -> StagedModel:
        """Sets the mode; parts that a stage has frozen stay in evaluation mode."""
        super().train(mode)
        if self._n_frozen:
            for part in (*self._before(), *(m for i in range(self._n_frozen) for m in self._block(i))):
                part.eval()
        return self
