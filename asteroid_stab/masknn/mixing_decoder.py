"""The decoder of the improved SuDoRM-RF, which mixes the masked features of all sources."""

from __future__ import annotations

from torch import Tensor, nn

from asteroid_stab.masknn.overlap_add import transposed_conv


class MixingDecoder(nn.ConvTranspose1d):
    """D of eq. (1): every output is computed from the masked features of all sources.

    Shapes:
        - input ``[B, S, N, L]``, output ``[B, S, T]``.
    """

    def __init__(self, n_slots: int, n_filters: int, kernel_size: int, stride: int):
        super().__init__(
            n_slots * n_filters,
            n_slots,
            kernel_size,
            stride,
            padding=kernel_size // 2,
            output_padding=(stride - 1) * (kernel_size % 2),  # the number of samples that were encoded
            bias=False,
        )
        nn.init.xavier_normal_(self.weight)

    def forward(self, masked: Tensor, output_size: list[int] | None = None) -> Tensor:
        """The waveforms."""
        return super().forward(masked.flatten(1, 2), output_size)


class FoldedMixingDecoder(MixingDecoder):
    """:class:`MixingDecoder` by :func:`~asteroid_stab.masknn.overlap_add.transposed_conv`: the same in less time."""

    def forward(self, masked: Tensor, output_size: list[int] | None = None) -> Tensor:
        """The waveforms."""
        if output_size is not None:
            return super().forward(masked, output_size)
        stride, padding, output_padding = self.stride[0], self.padding[0], self.output_padding[0]
        assert isinstance(padding, int)  # a word only where there is no transposition
        return transposed_conv(masked.flatten(1, 2), self.weight, stride, padding, output_padding)
