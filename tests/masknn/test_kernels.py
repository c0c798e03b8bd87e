"""Networks with their layers turned into faster ones, against Asteroid's."""

import copy

import pytest
import torch
from asteroid.masknn.norms import ChanLN, GlobLN
from asteroid.models import BaseModel, ConvTasNet

from asteroid_stab.masknn import FusedGlobLN, kernels, use_fast_kernels
from asteroid_stab.masknn.kernels import STOCK_KERNELS, stock_kernels
from asteroid_stab.models import LatentRefinementNet, conv_tasnet, dprnn_tasnet, dptnet, save_model, sudormrf

SIZE = {"n_filters": 32, "n_blocks": 2, "n_repeats": 1, "bn_chan": 8, "hid_chan": 16, "skip_chan": 8}
FAST = tuple(fast for fast, _ in kernels.FAST.values())


@pytest.mark.parametrize(
    "make",
    [
        lambda: conv_tasnet(3, **SIZE),
        lambda: dprnn_tasnet(3, n_filters=8, kernel_size=16, n_repeats=1, bn_chan=8, hid_size=8, chunk_size=20),
        lambda: dptnet(3, n_filters=8, kernel_size=16, n_repeats=1, n_heads=2, ff_hid=8, chunk_size=20),
        lambda: sudormrf(3, bn_chan=8, num_blocks=1, upsampling_depth=2, n_filters=16),
        lambda: LatentRefinementNet(3, bn_chan=8, upsampling_depth=2, n_filters=16),
    ],
    ids=["conv_tasnet", "dprnn", "dptnet", "sudormrf", "refiner"],
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


def test_each_kind_is_met_and_turned_back(monkeypatch):
    """No entry of the table is without a network of ours that has such layers."""
    models = [
        conv_tasnet(2, **SIZE), LatentRefinementNet(2, bn_chan=8, upsampling_depth=2, n_filters=16),
        dptnet(2, n_filters=8, kernel_size=16, n_repeats=1, n_heads=2, ff_hid=8, chunk_size=20),
    ]  # fmt: skip
    kinds = [[type(module) for module in model.modules()] for model in models]
    assert set(FAST) <= set().union(*kinds)
    for model, before in zip(models, kinds, strict=True):
        with stock_kernels(model):
            assert not any(type(module) in FAST for module in model.modules())
        assert [type(module) for module in model.modules()] == before


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
