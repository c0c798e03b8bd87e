"""Latent iterative refinement: blocks that are applied several times, trained in stages, and skipped by gates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from asteroid import models
from asteroid.utils.torch_utils import pad_x_to_y
from asteroid_filterbanks import Encoder, FreeFB
from torch import Tensor, nn
from torch.nn.functional import pad

from asteroid_stab.errors import StabError
from asteroid_stab.masknn import RefinementMasker, use_fast_kernels
from asteroid_stab.masknn.mixing_decoder import MixingDecoder
from asteroid_stab.masknn.refinement import mask_head
from asteroid_stab.models.refiner_exits import refine_until
from asteroid_stab.models.refiner_parts import by_length, check_sizes, counts
from asteroid_stab.models.refiner_stages import StagedModel


class LatentRefinementNet(StagedModel):
    r"""Separates by blocks that refine a state between encoder and decoder, each applied a given number of times.

    .. math:: \hat s = D(M(B_N^{(I_N)} \circ \ldots \circ B_1^{(I_1)}(E(x))) \cdot E(x))

    The parameters do not depend on the number of iterations, which may change from call to call.

    With ``noise_slot`` the decoder has an output for the noise, after the sources: the training mode returns it,
    ``[B, J + 1, T]``, for the loss; the evaluation mode leaves it out, ``[B, J, T]`` (:meth:`slots` returns it).

    With ``gate`` each block has an :class:`~asteroid_stab.masknn.ExitGate`, shared by its iterations and asked before
    each of them. Training computes every iteration and skips by multiplication, eq. (7), so that the gate has a
    gradient. In evaluation an item that exits is not computed any further in this block and goes on to the next one.
    A gate sees the whole signal, so it may decide otherwise for a part of it.

    With ``own_heads`` each block has its own mask network and decoder, and the first blocks alone are a model too
    (:meth:`truncated`); blocks can be trained one after the other (:meth:`train_stage`). Otherwise one head serves
    every depth. Without stages, only layer-wise losses train the heads before the last: DDP then needs
    ``find_unused_parameters``.

    With ``snr_exit`` a network estimates the error of each output after each iteration, as a distribution, and in
    evaluation an item exits all blocks once the SNR of each speaker is better than the mixture's by ``exit_snri_db``
    with ``exit_probability``. Each iteration is decoded then. The estimate of the errors is trained by
    ``RefinementSystem(likelihood=...)``.

    Args:
        n_src: J, number of sources, without the noise.
        n_blocks: N, blocks with weights of their own.
        n_sub_blocks: in each block.
        n_iterations: of every block, or a number for each.
        gate: whether blocks have gates.
        gate_segment_s: length of signal that a gate looks at as it is, in seconds.
        noise_slot: whether there is an output for the noise.
        own_heads: whether each block has its own mask network and decoder.
        sample_rate: in Hz.
        n_filters: filters of the encoder, and channels within a sub-block.
        kernel_size: length of a filter, in samples.
        stride: hop of the encoder, in samples; None is half a filter.
        bn_chan: channels of the state.
        upsampling_depth: resolutions in a sub-block.
        mask_act: activation of the masks.
        sub_block: ``uconv``, ``ublock``, or a name given to :func:`~asteroid_stab.masknn.register_sub_block`.
        gate_bias: initial bias of the gates towards "process" (our reading).
        snr_exit: whether there is a network for the errors of the outputs.
        exit_snri_db: SNR improvement at which an item exits, in dB; None: no item exits.
        exit_probability: with which each speaker must have it.

    Shapes:
        - model input ``[B, T]``, output ``[B, J, T]``, in training ``[B, J + 1, T]`` with a slot for the noise.

    Raises:
        StabError: an argument is out of its range.

    Example:
        >>> size = {"noise_slot": True, "n_filters": 16, "bn_chan": 8, "upsampling_depth": 2}
        >>> model = LatentRefinementNet(n_src=3, n_blocks=2, n_iterations=[4, 1], gate=True, **size)
        >>> model(torch.randn(2, 800)).shape
        torch.Size([2, 4, 800])
        >>> est, figures = model.eval().forward_with_figures(torch.randn(2, 800))
        >>> est.shape, figures["n_iterations"].shape, bool((figures["n_iterations"] <= 5).all())
        (torch.Size([2, 3, 800]), torch.Size([2]), True)

    References:
        Bralios et al., "Latent iterative refinement for modular source separation", ICASSP 2023, arXiv 2211.11917,
        eq. (1) to (10). The backbone is the improved SuDoRM-RF, whose decoder mixes the masked sources: Tzinis, Wang,
        Jiang, Smaragdis, "Compute and memory efficient universal sound source separation", Journal of Signal Processing
        Systems 94, 2022, arXiv 2103.02644. ``snr_exit``: Olsen et al., "Knowing when to quit: probabilistic early exits
        for speech separation", ICLR 2026, arXiv 2507.09768, whose network is another one.
    """

    output_layers = ("masker.mask_net.1", "decoder", "early_heads")  # the decoder mixes the outputs

    def __init__(
        self,
        n_src: int,
        n_blocks: int = 1,
        n_sub_blocks: int = 1,
        n_iterations: int | list[int] = 1,
        gate: bool = False,
        gate_segment_s: float = 4.0,
        noise_slot: bool = False,
        own_heads: bool = False,
        sample_rate: float = 8000,
        n_filters: int = 512,
        kernel_size: int = 21,
        stride: int | None = None,
        bn_chan: int = 128,
        upsampling_depth: int = 5,
        mask_act: str = "relu",
        sub_block: str = "uconv",
        gate_bias: float = 0.0,
        snr_exit: bool = False,
        exit_snri_db: float | None = None,
        exit_probability: float = 0.9,
    ):
        args = {name: value for name, value in locals().items() if name not in ("self", "__class__")}  # all of them
        check_sizes(args)
        stride = stride or max(1, kernel_size // 2)
        iterations = counts(n_iterations, n_blocks, least=1)
        multiple = math.lcm(stride, 2**upsampling_depth)

        def n_frames(n_samples: int) -> int:  # of a signal that forward_encoder has padded
            return -(-n_samples // multiple) * multiple // stride + (1 - kernel_size % 2)

        n_slots = n_src + noise_slot
        gate_frames = n_frames(round(gate_segment_s * sample_rate)) if gate else None
        filters = FreeFB(n_filters, kernel_size, stride, float(sample_rate))
        masker = RefinementMasker(
            n_filters, n_slots, bn_chan, n_blocks, n_sub_blocks, iterations, gate_frames, gate_bias,
            upsampling_depth, mask_act, sub_block, trial_frames=n_frames(1), error_head=snr_exit,
        )  # fmt: skip
        decoder = MixingDecoder(n_slots, n_filters, kernel_size, stride)

        def head() -> nn.ModuleDict:
            decoder = MixingDecoder(n_slots, n_filters, kernel_size, stride)
            return nn.ModuleDict({"mask_net": mask_head(bn_chan, n_slots, n_filters), "decoder": decoder})

        early_heads = nn.ModuleList(head() for _ in range(n_blocks - 1 if own_heads else 0))
        encoder = Encoder(filters, padding=kernel_size // 2)
        super().__init__(encoder, masker, decoder, early_heads, iterations, n_sub_blocks, own_heads)
        self.n_src, self.noise_slot, self.gate, self.snr_exit = n_src, noise_slot, gate, snr_exit
        self.exit_snri_db, self.exit_probability = exit_snri_db, exit_probability
        self._multiple = multiple
        self._args = {**args, "stride": stride, "n_iterations": list(iterations)}
        use_fast_kernels(self)

    # --- separation ---

    def forward(
        self, wav: Tensor, n_iterations: int | Sequence[int] | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """Estimates of the sources, in training mode of the noise too.

        Args:
            wav: mixtures ``[B, T]``, or one ``[T]``, or ``[B, 1, T]``.
            n_iterations: of every block, or a number for each; None takes the constructor's.
            lengths: ``[B]``, samples of each item without padding. An item is computed as if it were alone with its
                own length, and its estimates are zero after it; items of equal length are computed together.

        Raises:
            StabError: a shape, a number of iterations or a length does not fit.
        """
        return self.forward_with_figures(wav, n_iterations, lengths)[0]

    def forward_dense(self, wav: Tensor) -> Tensor:
        """Estimates ``[B, J, T]`` of mixtures ``[B, T]`` in evaluation mode: gates skip by multiplication, eq. (7).

        No item leaves the computation, so that an exporter can follow it; the estimates are :meth:`forward`'s.
        """
        return self.slots(wav, dense=True)[0][:, : self.n_src]

    def forward_with_figures(
        self,
        mixture: Tensor,
        n_iterations: int | Sequence[int] | None = None,
        lengths: Tensor | None = None,
        gate_noise: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the estimates, and two figures of each item ``[B]``: N̂ of eq. (10), and the sub-blocks applied.

        In training mode they have a gradient where there are gates; in evaluation mode they are whole numbers.

        Args:
            mixture: as :meth:`forward`'s ``wav``.
            n_iterations: as in :meth:`forward`.
            lengths: as in :meth:`forward`.
            gate_noise: Gumbel noise ``[I, B, 2]`` of the decisions in training mode, over the I iterations of all
                blocks, in a stage of its block alone; None lets the gates draw it from torch's global generator.

        Raises:
            StabError: a shape, a number of iterations or a length does not fit.
            ValueError: the noise has another shape, or there are no gates.
        """
        est, n_used = self.slots(mixture, n_iterations, lengths, gate_noise=gate_noise)
        if not self.training:
            est = est[..., : self.n_src, :]
        return est, {"n_iterations": n_used, "n_sub_blocks": n_used * self.n_sub_blocks}

    def slots(
        self,
        wav: Tensor,
        n_iterations: int | Sequence[int] | None = None,
        lengths: Tensor | None = None,
        dense: bool = False,
        gate_noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Estimates of all outputs ``[B, J + 1, T]``, the noise last, in either mode; and N̂ ``[B]``.

        Takes the arguments of :meth:`forward_with_figures`; ``dense`` computes every iteration of every item in
        evaluation mode too, with the same result.
        """
        if wav.ndim not in (1, 2, 3) or wav.shape[-1] == 0 or (wav.ndim == 3 and wav.shape[1] != 1):
            raise StabError(f"a mixture must be [T], [B, T] or [B, 1, T] with T above 0, got {list(wav.shape)}")
        mixture = wav.reshape(-1, 1, wav.shape[-1])
        per_block = self.n_iterations if n_iterations is None else counts(n_iterations, self.n_blocks, least=0)
        noise = self._noise_of_blocks(gate_noise, per_block, mixture.shape[0])

        def estimate(part: Tensor, rows: Tensor | slice) -> tuple[Tensor, Tensor]:
            return self._estimate(part, per_block, dense, [None if of is None else of[:, rows] for of in noise])

        est, n_used = by_length(estimate, mixture, lengths)
        n_used = n_used if self.training else n_used.long()
        return (est.squeeze(-3) if wav.ndim == 1 else est), n_used

    def _noise_of_blocks(
        self, gate_noise: Tensor | None, per_block: Sequence[int], n_items: int
    ) -> list[Tensor | None]:
        """Gumbel noise ``[n, B, 2]`` for the gate of each block that is computed; None where a gate draws its own."""
        if gate_noise is None:
            return [None] * self.depth
        trained = list(per_block[self._n_frozen : self.depth])
        shape = [sum(trained), n_items, 2]
        if not self.gate or list(gate_noise.shape) != shape:
            need = f"be {shape}" if self.gate else "be None without gates"
            raise ValueError(f"gate_noise must {need}, got {list(gate_noise.shape)}")
        return [*[None] * self._n_frozen, *gate_noise.split(trained)]

    def _estimate(
        self, mixture: Tensor, per_block: Sequence[int], dense: bool, noise: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor]:
        tf_rep = self.forward_encoder(mixture)
        if self.exit_snri_db is not None and not self.training:
            return refine_until(self, mixture, tf_rep, per_block, dense)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._n_frozen == 0):
            hidden = self.masker.start(tf_rep)
        total = torch.zeros(hidden.shape[0], device=hidden.device)
        for block, n in enumerate(per_block[: self.depth]):  # eq. (6)
            with torch.set_grad_enabled(torch.is_grad_enabled() and block >= self._n_frozen):
                hidden, n_used = self.masker.refine(hidden, block, n, dense, noise[block])
            total = total + n_used
        return self.decode(hidden, tf_rep, mixture, self.head(self.depth)), total

    def trace(
        self, tf_rep: Tensor, per_block: Sequence[int], noise: Sequence[Tensor | None] | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The state and the decisions ``[B]`` after every iteration, eq. (7), computed for every item.

        Args:
            tf_rep: the encoder's output ``[B, N, L]``.
            per_block: iterations of each block.
            noise: Gumbel noise ``[n, B, 2]`` for the gate of each block; None lets them draw it.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._n_frozen == 0):
            hidden = self.masker.start(tf_rep)
        for block, n in enumerate(per_block[: self.depth]):
            given = None if noise is None else noise[block]
            for t in range(n):
                with torch.set_grad_enabled(torch.is_grad_enabled() and block >= self._n_frozen):
                    [(hidden, g)] = self.masker.steps(hidden, block, 1, None if given is None else given[t : t + 1])
                yield hidden, g

    def forward_encoder(self, wav: Tensor) -> Tensor:
        """Features ``[B, N, L]`` of ``[B, 1, T]``, which is padded with zeros to a multiple of stride and 2^depth."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._n_frozen == 0):
            whole = (wav.shape[-1] + self._multiple - 1) // self._multiple * self._multiple  # as exporters follow it
            return super().forward_encoder(pad(wav, (0, whole - wav.shape[-1])))

    def decode(self, hidden: Tensor, tf_rep: Tensor, mixture: Tensor, head: Mapping[str, nn.Module]) -> Tensor:
        """Decodes a state by a head: masks for the encoder's output, then the decoder, eq. (1)."""
        masks = self.masker.masks(hidden, head["mask_net"])
        return pad_x_to_y(head["decoder"](self.apply_masks(tf_rep, masks)), mixture)

    # --- files ---

    def truncated(self, n: int) -> LatentRefinementNet:
        """A new model of the first ``n`` blocks, with the head of block ``n`` and copies of the weights.

        Raises:
            StabError: there are fewer blocks; the blocks share one head, which belongs to the last block.
        """
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= self.n_blocks:
            raise StabError(f"truncated needs a number of blocks from 1 to {self.n_blocks}, got {n!r}")
        if n < self.n_blocks and not self.own_heads:
            raise StabError(f"truncated needs own_heads=true: the one head is that of all {self.n_blocks} blocks")
        with torch.random.fork_rng(devices=[]):  # writing a model file must not change the random numbers of a training
            args = {**self.get_model_args(), "n_blocks": n, "n_iterations": self.n_iterations[:n]}
            model = LatentRefinementNet(**args)
        kept = model.state_dict().keys()
        weights = {key: value for key, value in self.state_dict().items() if key in kept}
        for name, module in self.head(n).items():
            prefix = "masker.mask_net" if name == "mask_net" else name
            weights.update({f"{prefix}.{key}": value for key, value in module.state_dict().items()})
        model.load_state_dict(weights)
        return model.to(next(self.parameters())).train(self.training)

    def get_model_args(self) -> dict[str, Any]:
        """The constructor's arguments that build this model again."""
        return {**self._args, "n_iterations": list(self.n_iterations), "exit_snri_db": self.exit_snri_db}

    def serialize(self) -> dict[str, Any]:
        """Returns Asteroid's dictionary; before the last stage, of the model of the blocks trained so far."""
        return super().serialize() if self.depth == self.n_blocks else self.truncated(self.depth).serialize()


if not hasattr(models, "LatentRefinementNet"):  # a reloaded module does not register twice
    models.register_model(LatentRefinementNet)
