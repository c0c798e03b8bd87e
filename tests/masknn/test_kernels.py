"""Fast layers against torch's and Asteroid's: values, gradients, and where they step aside."""

import copy

import pytest
import torch
from asteroid.masknn.norms import ChanLN, GlobLN
from asteroid.models import BaseModel, ConvTasNet
from torch import nn

from asteroid_stab.masknn import FastPReLU, FusedGlobLN, ShiftedConv1d, use_fast_kernels
from asteroid_stab.masknn.kernels import STOCK_KERNELS
from asteroid_stab.models import conv_tasnet, dprnn_tasnet, dptnet, save_model, sudormrf

SIZE = {"n_filters": 32, "n_blocks": 2, "n_repeats": 1, "bn_chan": 8, "hid_chan": 16, "skip_chan": 8}
FAST = (FastPReLU, FusedGlobLN, ShiftedConv1d)


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
    assert type(quick) in FAST
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


@pytest.mark.parametrize(
    "make",
    [
        lambda: conv_tasnet(3, **SIZE),
        lambda: dprnn_tasnet(3, n_filters=8, kernel_size=16, n_repeats=1, bn_chan=8, hid_size=8, chunk_size=20),
        lambda: dptnet(3, n_filters=8, kernel_size=16, n_repeats=1, n_heads=2, ff_hid=8, chunk_size=20),
        lambda: sudormrf(3, bn_chan=8, num_blocks=1, upsampling_depth=2, n_filters=16),
    ],
    ids=["conv_tasnet", "dprnn", "dptnet", "sudormrf"],
)
def test_a_models_step_is_asteroid_s(make, monkeypatch):
    torch.manual_seed(0)
    quick = make().double()
    assert any(type(module) in FAST for module in quick.modules())
    monkeypatch.setenv(STOCK_KERNELS, "1")
    torch.manual_seed(0)
    stock = make().double()
    assert not any(type(module) in FAST for module in stock.modules())
    stock.load_state_dict(quick.state_dict())
    x = torch.randn(2, 800, dtype=torch.float64)
    for model in (quick, stock):
        model(x).square().sum().backward()
    torch.testing.assert_close(quick(x), stock(x))
    for (name, ours), theirs in zip(quick.named_parameters(), stock.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, msg=name)


def test_norms_of_another_kind_stay():
    kinds = [type(module) for module in use_fast_kernels(ConvTasNet(2, norm_type="cLN", **SIZE)).modules()]
    assert FusedGlobLN not in kinds
    assert ChanLN in kinds


def test_the_file_names_the_hosts_layers(tmp_path):
    model = conv_tasnet(2, **SIZE).eval()
    save_model(model, tmp_path / "model.pth")
    theirs = BaseModel.from_pretrained(str(tmp_path / "model.pth")).eval()
    assert GlobLN in [type(module) for module in theirs.modules()]
    x = torch.randn(1, 800)
    torch.testing.assert_close(model(x), theirs(x))


def test_a_fast_model_can_be_copied():
    model = conv_tasnet(2, **SIZE)
    x = torch.randn(1, 800)
    torch.testing.assert_close(copy.deepcopy(model)(x), model(x))
