"""What is traced of a model, and at which sizes."""

import pytest
import torch
from torch import nn

from asteroid_stab.models import conv_tasnet
from asteroid_stab.sharing.exported import Separator, Sizes, trace


class WithDense(nn.Module):
    def forward(self, mixture):
        return mixture

    def forward_dense(self, mixture):
        return 2 * mixture


def test_a_model_is_traced_by_its_dense_way():
    assert Separator(WithDense())(torch.ones(1, 2)).tolist() == [[2.0, 2.0]]
    assert Separator(nn.Identity())(torch.ones(1, 2)).tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("sizes", "rule", "trials"),
    [
        (Sizes(None, 800), "[batch, samples]: any batch, at least 800 samples", [(1, 800), (2, 5613), (1, 16001)]),
        (Sizes(4000, 4000), "[1, 4000]: one mixture of exactly 4000 samples", [(1, 4000)]),
    ],
)
def test_sizes_are_put_into_words_and_tried(sizes, rule, trials):
    assert sizes.rule == rule
    assert sizes.trials() == trials


def test_tracing_leaves_the_model_as_it_was():
    model = conv_tasnet(2, n_filters=8, n_blocks=1, n_repeats=1, bn_chan=4, hid_chan=4, skip_chan=4).eval()
    trained = {name: one.requires_grad for name, one in model.named_parameters()}
    kinds = [type(part) for part in model.modules()]
    program, sizes = trace(model, 8000, 400, is_fixed=True)
    assert sizes == Sizes(400, 400)
    assert {name: one.requires_grad for name, one in model.named_parameters()} == trained
    assert len({*trained.values()}) == 2  # the last residual convolution feeds nothing
    assert [type(part) for part in model.modules()] == kinds
    with pytest.raises(Exception, match="400"):
        program.module()(torch.randn(1, 401))
