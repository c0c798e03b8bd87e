"""Fast layers against torch's: values, gradients, and where they step aside."""

import copy

import pytest
import torch
from torch import nn

from asteroid_stab.masknn import FastPReLU, ShiftedConv1d, use_fast_kernels


def outcome(layer, x):
    """Output, and gradients of input and parameters."""
    given = x.clone().requires_grad_()
    out = layer(given)
    weights = torch.cos(torch.arange(out.numel(), dtype=out.dtype)).view_as(out)
    return out, *torch.autograd.grad((out * weights).sum(), [given, *layer.parameters()])


def fast(layer):
    return use_fast_kernels(nn.Sequential(copy.deepcopy(layer)))[0]


def assert_same(layer, x, **tolerance):
    quick = fast(layer)
    assert type(quick) in (FastPReLU, ShiftedConv1d)
    for ours, theirs in zip(outcome(quick, x), outcome(layer, x), strict=True):
        torch.testing.assert_close(ours, theirs, **tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("dilation", "length"), [(1, 50), (8, 50), (8, 9), (8, 8), (8, 3), (1, 1)])
def test_a_depthwise_convolution(dilation, length, dtype):
    torch.manual_seed(0)
    layer = nn.Conv1d(6, 6, 3, padding=dilation, dilation=dilation, groups=6).to(dtype)
    x = torch.randn(4, 6, length, dtype=dtype)
    assert_same(layer, x, **({} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 1e-5}))
    assert_same(layer, x.mT.contiguous().mT, **({} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 1e-5}))


@pytest.mark.parametrize("slope", [0.25, 0.0, 1.0, -0.5, 3.0])
@pytest.mark.parametrize("shape", [(4, 6, 50), (3,), (2, 6, 5, 4), (0, 6, 5)])
def test_a_prelu(slope, shape):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64)
    x.view(-1)[::7] = 0.0
    assert_same(nn.PReLU(init=slope).double(), x)


def test_a_prelu_of_what_is_not_finite():
    x = torch.tensor([float("nan"), float("inf"), -float("inf"), -1.0])
    torch.testing.assert_close(FastPReLU()(x), nn.PReLU()(x), equal_nan=True)
    ours, theirs = outcome(FastPReLU(), x), outcome(nn.PReLU(), x)
    assert [torch.isfinite(one).all() for one in ours[2:]] == [torch.isfinite(one).all() for one in theirs[2:]]


def test_gradients_of_gradients_are_refused():
    x = torch.randn(2, 6, 20, requires_grad=True)
    for layer in (FastPReLU(), fast(nn.Conv1d(6, 6, 3, padding=1, groups=6))):
        (grad,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            grad.sum().backward()


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(6, 6, 3, padding=1),  # not depthwise
        nn.Conv1d(6, 12, 3, padding=1, groups=6),
        nn.Conv1d(6, 6, 3, padding=1, groups=6, bias=False),
        nn.Conv1d(6, 6, 3, padding=1, dilation=2, groups=6),
        nn.Conv1d(6, 6, 3, padding=1, stride=2, groups=6),
        nn.Conv1d(6, 6, 5, padding=2, groups=6),
        nn.Conv1d(6, 6, 3, padding=1, padding_mode="reflect", groups=6),
        nn.Conv1d(6, 6, 3, padding="same", groups=6),
        nn.PReLU(6),
    ],
    ids=str,
)
def test_other_layers_stay(layer):
    assert type(fast(layer)) is type(layer)


@pytest.mark.parametrize("layer", [nn.PReLU(), nn.Conv1d(6, 6, 3, padding=2, dilation=2, groups=6)], ids=str)
def test_autocast_and_unbatched_inputs_are_torch_s(layer):
    x = torch.randn(2, 6, 20)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = fast(layer)(x), layer(x)
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours, theirs)
    assert torch.equal(fast(layer)(x[0]), layer(x[0]))
    with pytest.raises(RuntimeError, match=r"dtype|type"):
        fast(nn.Conv1d(6, 6, 3, padding=1, groups=6))(x.double())
    with pytest.raises(RuntimeError, match="channels"):
        fast(nn.Conv1d(6, 6, 3, padding=1, groups=6))(x[:, :1])
