"""An activation and a convolution of the networks that compute the same as torch's in less time on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import leaky_relu

from asteroid_stab.masknn.eligible import eligible


class FastPReLU(nn.PReLU):
    """``PReLU`` with one slope: torch's backward pass takes six times as long on a CPU.

    Elsewhere, under autocast and while it is compiled, it is torch's own.

    Shapes:
        input and output: [B, C, ...].

    Example:
        >>> x = torch.tensor([-2.0, 3.0], requires_grad=True)
        >>> layer = FastPReLU(init=0.25)
        >>> layer(x).sum().backward()
        >>> layer(x), x.grad, layer.weight.grad
        (tensor([-0.5000,  3.0000], grad_fn=<_PReLUBackward>), tensor([0.2500, 1.0000]), tensor([-2.]))
    """

    @staticmethod
    def serves(layer: nn.PReLU) -> bool:
        """Whether a layer is of the kind that this class computes: one slope for all channels."""
        return layer.num_parameters == 1

    def forward(self, x: Tensor) -> Tensor:
        if not (eligible(x, self.weight) and torch.is_grad_enabled()):
            return super().forward(x)
        return _PReLU.apply(x, self.weight)


class ShiftedConv1d(nn.Conv1d):
    """Depthwise ``Conv1d`` of three taps as three shifted products: dilated, torch's takes four times as long on a CPU.

    Elsewhere, under autocast and while it is compiled, it is torch's own.

    Shapes:
        input and output: [B, C, T].

    Example:
        >>> layer = ShiftedConv1d(4, 4, 3, padding=2, dilation=2, groups=4)
        >>> x = torch.randn(2, 4, 50)
        >>> torch.allclose(layer(x), nn.Conv1d.forward(layer, x), atol=1e-6)
        True
    """

    @staticmethod
    def serves(layer: nn.Conv1d) -> bool:
        """Whether a layer is of the kind that this class computes: depthwise, three taps, as long as its input."""
        depthwise = layer.groups == layer.in_channels == layer.out_channels
        same = layer.kernel_size == (3,) and layer.stride == (1,) and layer.padding == layer.dilation
        return depthwise and same and layer.padding_mode == "zeros" and layer.bias is not None

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 3 or x.shape[1] != self.in_channels or not eligible(x, self.weight):
            return super().forward(x)
        return _DepthwiseConv.apply(x, self.weight, self.bias, self.dilation[0])


class _PReLU(torch.autograd.Function):
    """y = x for x > 0, else a·x; the gradient of a is one product of vectors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.slope = weight.item()
        ctx.save_for_backward(x)
        return leaky_relu(x, ctx.slope)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (x,) = ctx.saved_tensors
        of_x = torch.ops.aten.leaky_relu_backward(grad, x, ctx.slope, False) if ctx.needs_input_grad[0] else None
        of_weight = torch.dot(grad.flatten(), x.clamp_max(0).flatten()).view(1) if ctx.needs_input_grad[1] else None
        return of_x, of_weight


class _DepthwiseConv(torch.autograd.Function):
    """y[c, t] = b[c] + w[c, 0] · x[c, t - d] + w[c, 1] · x[c, t] + w[c, 2] · x[c, t + d], x being 0 outside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        before, here, after = weight.transpose(0, 2).unbind(0)  # [1, C] each
        return _add_shifted(torch.addcmul(bias.unsqueeze(-1), x, here.mT), x, before.mT, after.mT, dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        d = ctx.dilation
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            before, here, after = weight.transpose(0, 2).unbind(0)
            of_x = _add_shifted(grad * here.mT, grad, after.mT, before.mT, d)
        if ctx.needs_input_grad[1]:
            pairs = ((grad[..., d:], x[..., :-d]), (grad, x), (grad[..., :-d], x[..., d:]))
            of_weight = torch.stack([torch.linalg.vecdot(*pair).sum(0) for pair in pairs], -1).unsqueeze(1)
        if ctx.needs_input_grad[2]:
            of_bias = grad.sum((0, 2))
        return of_x, of_weight, of_bias, None


def _add_shifted(out: Tensor, x: Tensor, before: Tensor, after: Tensor, d: int) -> Tensor:
    """Returns out[t] + before · x[t - d] + after · x[t + d], added in place; before and after: [C, 1]."""
    out[..., d:].addcmul_(x[..., :-d], before)
    out[..., :-d].addcmul_(x[..., d:], after)
    return out
