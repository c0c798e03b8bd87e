"""Axes of layers' outputs, and a head written out."""

import pytest
import torch
from asteroid.masknn.norms import GlobLN

from asteroid_stab.errors import StabError
from asteroid_stab.models.layer_mask_heads import LayerMaskHeads, time_axes


@pytest.mark.parametrize(
    ("shapes", "wanted"),
    [
        (([2, 7, 50], [3, 7, 50], [2, 7, 100]), (0, 2, 7)),
        (([2, 50, 7], [3, 50, 7], [2, 99, 7]), (0, 1, 7)),
        (([50, 2, 4, 3], [50, 5, 4, 3], [70, 2, 4, 3]), (1, 0, 12)),
        (([2, 50], [3, 50], [2, 51]), (0, 1, 1)),
    ],
)
def test_axes_are_those_that_grow(shapes, wanted):
    assert time_axes("layer", *(torch.zeros(shape) for shape in shapes)) == wanted


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (
            ([2, 7], [3, 7], [2, 7]),
            r"'layer' gives \[2, 7\], for more mixtures \[3, 7\], for longer ones \[2, 7\]: name",
        ),
        (([100, 7], [150, 7], [200, 7]), "one axis of items and one of time"),
        (([2, 7, 9], [3, 8, 9], [2, 7, 10]), "one axis of items and one of time"),
        (([2, 7], [3, 7, 1], [2, 8]), "one axis of items and one of time"),
    ],
)
def test_other_axes_are_refused(outputs, message):
    with pytest.raises(StabError, match=message):
        time_axes("layer", *(torch.zeros(shape) for shape in outputs))


def test_an_output_without_a_tensor_is_refused():
    with pytest.raises(StabError, match="a layer that returns a tensor, and 'layer' returns str"):
        time_axes("layer", "a", "b", "c")


@pytest.mark.parametrize("sample_rate", [8000, 16000, 400])
def test_a_head_written_out(sample_rate):
    torch.manual_seed(0)
    heads = LayerMaskHeads([(0, 2, 5), (1, 0, 6)], n_src=3, sample_rate=sample_rate).double()
    wav = torch.randn(2, 1601, dtype=torch.float64)
    kernel = heads.encoder.filterbank.kernel_size
    assert kernel == {8000: 16, 16000: 32, 400: 2}[sample_rate]
    rep = torch.relu(heads.encoder(wav[:, None]))
    first = torch.randn(2, 5, 77, dtype=torch.float64)
    second = torch.randn(40, 2, 2, 3, dtype=torch.float64)
    for k, (hidden, features) in enumerate([(first, first), (second, second.permute(1, 2, 3, 0).reshape(2, 6, 40))]):
        norm, conv = heads.mask_nets[k]
        assert isinstance(norm, GlobLN)
        masks = torch.nn.functional.interpolate(conv(norm(features)), size=rep.shape[-1], mode="linear").sigmoid()
        est = torch.stack([heads.decoder(masks.view(2, 3, 64, -1)[:, j] * rep) for j in range(3)], 1).squeeze(2)
        found = heads((hidden, None), wav, k)
        assert found.shape == (2, 3, 1601)
        torch.testing.assert_close(found[..., : est.shape[-1]], est[..., :1601])
