"""Decoders with learned filters by a matrix product and overlap-add, in place of a transposed convolution."""

from __future__ import annotations

from typing import Any

import torch
from asteroid_filterbanks import Decoder, FreeFB
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv_transpose1d, fold

from asteroid_stab.masknn.eligible import eligible


class FoldedDecoder(Decoder):
    """Asteroid's ``Decoder`` with learned filters, by :func:`transposed_conv`.

    Shapes:
        - input [N, L], [B, N, L] or [B, J, N, L], output [T], [B, 1, T] or [B, J, T].

    Example:
        >>> decoder = FoldedDecoder(FreeFB(8, 4, stride=2))
        >>> features = torch.randn(2, 3, 8, 20)
        >>> torch.allclose(decoder(features), Decoder.forward(decoder, features), atol=1e-6)
        True
    """

    @staticmethod
    def serves(layer: nn.Module) -> bool:
        """Whether a layer is of the kind that this class computes: its filters are parameters, and nothing else."""
        return type(layer) is Decoder and type(layer.filterbank) is FreeFB and not layer.is_pinv

    def forward(self, spec: Tensor, length: int | None = None) -> Tensor:
        """The signals, cut to ``length`` samples if it is given and they are longer."""
        if spec.ndim < 3:
            return super().forward(spec, length)
        frames = spec if spec.ndim == 3 else spec.flatten(0, -3)
        wav = transposed_conv(frames, self.get_filters(), self.stride, self.padding, self.output_padding)
        return (wav if spec.ndim == 3 else wav.view(*spec.shape[:-2], wav.shape[-1]))[..., :length]


def transposed_conv(x: Tensor, weight: Tensor, stride: int, padding: int, output_padding: int) -> Tensor:
    """``conv_transpose1d`` without bias, dilation and groups: on a CPU, torch's takes five to seven times as long.

    Elsewhere, under autocast and while it is compiled, it is torch's own.

    Args:
        x: features ``[B, N, L]``.
        weight: filters ``[N, C, K]``.
        stride: samples between two frames.
        padding: samples that are cut at each end.
        output_padding: zeros that are added at the end.

    Returns:
        Signals ``[B, C, (L - 1) * stride + K - 2 * padding + output_padding]``.

    Example:
        >>> transposed_conv(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[1.0, 10.0, 100.0]]]), 2, 0, 0)
        tensor([[[  1.,  10., 102.,  20., 200.]]])
    """
    if not (x.numel() and eligible(x, weight)):
        return conv_transpose1d(x, weight, None, stride, padding, output_padding)
    return _TransposedConv.apply(x, weight, stride, padding, output_padding)


class _TransposedConv(torch.autograd.Function):
    """y[c, l · stride + k - padding] = sum over l and n of w[n, c, k] · x[n, l]; torch's own backward pass is fast."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int, output_padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.sizes = stride, padding, output_padding
        n_samples = (x.shape[-1] - 1) * stride + weight.shape[-1] - 2 * padding + output_padding
        filters = weight.flatten(1).t().expand(len(x), -1, -1)
        frames = torch.bmm(filters, x)  # [B, C * K, L]; "@" would copy x to make it one product of two matrices
        return fold(frames, (1, n_samples), (1, weight.shape[-1]), 1, (0, padding), (1, stride)).squeeze(-2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, output_padding = ctx.sizes
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(
            grad, x, weight, None, [stride], [padding], [1], True, [output_padding], 1,
            [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False],
        )  # fmt: skip
        return of_x, of_weight, None, None, None
