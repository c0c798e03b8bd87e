"""Decoders by matrix product and overlap-add, against torch's transposed convolution."""

import pytest
import torch
from asteroid_filterbanks import STFTFB, Decoder, FreeFB
from torch.nn.functional import conv_transpose1d

from asteroid_stab.masknn import use_fast_kernels
from asteroid_stab.masknn.overlap_add import FoldedDecoder, transposed_conv

SIZES = [  # B, N, C, K, L, stride, padding, output_padding
    (2, 8, 1, 4, 20, 2, 0, 0),
    (2, 8, 1, 21, 9, 10, 10, 9),
    (3, 6, 2, 21, 9, 10, 10, 0),
    (1, 5, 3, 5, 1, 5, 0, 0),
    (2, 5, 1, 3, 7, 4, 0, 1),  # frames with gaps between them
    (2, 4, 1, 1, 6, 1, 0, 0),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_equals_torch(size, dtype):
    torch.manual_seed(0)
    n_items, n_filters, n_chan, kernel, n_frames, *sizes = size
    x = torch.randn(n_items, n_filters, n_frames, dtype=dtype, requires_grad=True)
    weight = torch.randn(n_filters, n_chan, kernel, dtype=dtype, requires_grad=True)
    ours, theirs = transposed_conv(x, weight, *sizes), conv_transpose1d(x, weight, None, *sizes)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    weights = torch.randn_like(ours)
    for one, other in zip(
        *(torch.autograd.grad((y * weights).sum(), [x, weight]) for y in (ours, theirs)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("only", [0, 1])
def test_a_gradient_that_nobody_needs_is_left_out(only):
    """As with a frozen decoder, or with features that are trained no further."""
    given = [torch.randn(2, 8, 20), torch.randn(8, 1, 4)]
    given[only].requires_grad_()
    transposed_conv(*given, 2, 0, 0).sum().backward()
    assert given[only].grad is not None
    assert given[1 - only].grad is None


def test_features_that_are_not_contiguous():
    x, weight = torch.randn(2, 20, 8).mT, torch.randn(4, 1, 8).permute(2, 1, 0)
    torch.testing.assert_close(transposed_conv(x, weight, 2, 0, 0), conv_transpose1d(x, weight, None, 2))


def test_no_items():
    assert transposed_conv(torch.zeros(0, 8, 20), torch.randn(8, 1, 4), 2, 0, 0).shape == (0, 1, 42)


@pytest.mark.parametrize("shape", [(8, 20), (2, 8, 20), (2, 3, 8, 20), (2, 2, 3, 8, 20)])
@pytest.mark.parametrize("length", [None, 30, 1000])
def test_a_decoder_gives_asteroids_shapes(shape, length):
    decoder, features = Decoder(FreeFB(8, 4, stride=2), padding=1), torch.randn(shape)
    theirs = decoder(features, length)
    [ours] = use_fast_kernels(torch.nn.Sequential(decoder))
    assert type(ours) is FoldedDecoder
    torch.testing.assert_close(ours(features, length), theirs)


@pytest.mark.parametrize(
    "decoder", [Decoder(STFTFB(8, 8, stride=4)), Decoder.pinv_of(FreeFB(8, 4, stride=2))], ids=["stft", "inverse"]
)
def test_other_filters_are_left_alone(decoder):
    assert type(use_fast_kernels(torch.nn.Sequential(decoder))[0]) is Decoder


def test_autocast_and_lower_precision_take_torchs_own(monkeypatch):
    called = []
    monkeypatch.setattr(
        "asteroid_stab.masknn.overlap_add.conv_transpose1d", lambda *given: called.append(1) or conv_transpose1d(*given)
    )
    x, weight = torch.randn(2, 8, 20), torch.randn(8, 1, 4)
    transposed_conv(x.bfloat16(), weight.bfloat16(), 2, 0, 0)
    with torch.autocast("cpu", torch.bfloat16):
        transposed_conv(x, weight, 2, 0, 0)
    assert len(called) == 2
