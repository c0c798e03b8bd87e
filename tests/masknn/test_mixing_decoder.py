"""The mixing decoder by matrix product and overlap-add, against torch's transposed convolution."""

import copy

import pytest
import torch

from asteroid_stab.masknn.mixing_decoder import FoldedMixingDecoder, MixingDecoder


@pytest.mark.parametrize(("kernel_size", "stride"), [(21, 10), (16, 8), (4, 4), (3, 1)])
@pytest.mark.parametrize("output_size", [None, "its own"])
def test_it_equals_torch(kernel_size, stride, output_size):
    torch.manual_seed(0)
    stock = MixingDecoder(3, 6, kernel_size, stride).double()
    folded = copy.deepcopy(stock)
    folded.__class__ = FoldedMixingDecoder
    masked = torch.randn(2, 3, 6, 12, dtype=torch.float64)
    theirs = stock(masked)
    size = None if output_size is None else list(theirs.shape[-1:])
    ours = folded(masked, size)
    torch.testing.assert_close(ours, theirs)
    grads = [torch.autograd.grad(y.square().sum(), layer.weight)[0] for y, layer in ((ours, folded), (theirs, stock))]
    torch.testing.assert_close(*grads)
