"""Layers that an exporter follows at any length give the host's values, and are the host's again afterwards."""

import pytest
import torch
from asteroid.models.sudormrf import _Padder

from asteroid_stab.masknn.open_length import OpenPadder, open_length
from asteroid_stab.models import sudormrf


@pytest.mark.parametrize("n_samples", [1, 79, 80, 81, 1601])
def test_the_padding_is_the_hosts(n_samples):
    model = sudormrf(n_src=2, n_filters=8, bn_chan=4, num_blocks=1, upsampling_depth=3).eval()
    x = torch.randn(2, 1, n_samples)
    before = model.encoder(x)
    with open_length(model):
        assert type(model.encoder) is OpenPadder
        assert torch.equal(model.encoder(x), before)
    assert type(model.encoder) is _Padder


def test_an_error_within_the_block_leaves_the_hosts_layers():
    model = sudormrf(n_src=2, n_filters=8, bn_chan=4, num_blocks=1, upsampling_depth=3)
    with pytest.raises(RuntimeError, match="inside"), open_length(model):
        raise RuntimeError("inside")
    assert type(model.encoder) is _Padder
