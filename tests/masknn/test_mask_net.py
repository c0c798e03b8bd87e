"""The mask network of ConvTasNet, against Asteroid's."""

import copy

import pytest
import torch
from asteroid.masknn.convolutional import TDConvNet

from asteroid_stab.masknn import use_fast_kernels
from asteroid_stab.masknn.mask_net import UnhaltedTDConvNet


@pytest.mark.parametrize("skip_chan", [4, 0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mixed", [False, True])
def test_values_and_gradients_are_the_hosts(skip_chan, dtype, mixed):
    torch.manual_seed(0)
    host = TDConvNet(8, 3, n_blocks=2, n_repeats=2, bn_chan=4, hid_chan=8, skip_chan=skip_chan).to(dtype)
    own = copy.deepcopy(host)
    own.__class__ = UnhaltedTDConvNet
    features = torch.randn(2, 8, 30, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        for net in (host, own):
            net(features).float().square().sum().backward()
        assert torch.equal(host(features), own(features))
        assert host(features).dtype == own(features).dtype
    for a, b in zip(host.parameters(), own.parameters(), strict=True):
        assert (a.grad is None and b.grad is None) or torch.equal(a.grad, b.grad)


def test_the_models_of_this_package_have_it():
    net = torch.nn.Sequential(TDConvNet(8, 3, n_blocks=1, n_repeats=1, bn_chan=4, hid_chan=8, skip_chan=4))
    assert type(use_fast_kernels(net)[0]) is UnhaltedTDConvNet
