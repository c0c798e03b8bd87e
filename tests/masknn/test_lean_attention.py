"""The layer of DPTNet without the matrix of attention weights, against Asteroid's."""

import copy

import pytest
import torch
from asteroid.masknn.attention import ImprovedTransformedLayer

from asteroid_stab.masknn.lean_attention import LeanTransformedLayer


@pytest.mark.parametrize("options", [{}, {"bidirectional": False}, {"activation": "tanh"}, {"norm": "cLN"}], ids=str)
def test_it_equals_asteroids(options):
    torch.manual_seed(0)
    stock = ImprovedTransformedLayer(8, 2, 6, **options).double()
    lean = copy.deepcopy(stock)
    lean.__class__ = LeanTransformedLayer
    x = torch.randn(3, 8, 20, dtype=torch.float64, requires_grad=True)
    made = [layer(x) for layer in (lean, stock)]
    torch.testing.assert_close(*made)
    both = zip(made, (lean, stock), strict=True)
    grads = [torch.autograd.grad(y.square().sum(), [x, *layer.parameters()]) for y, layer in both]
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_dropout_is_where_asteroid_has_it():
    """With everything dropped but the attention, the output is that of the norms alone, in both."""
    torch.manual_seed(0)
    stock = ImprovedTransformedLayer(8, 2, 6, dropout=1.0)
    lean = copy.deepcopy(stock)
    lean.__class__ = LeanTransformedLayer
    x = torch.randn(3, 8, 20)
    torch.testing.assert_close(lean(x), stock(x))
    torch.testing.assert_close(lean(x), stock.norm_ff(stock.norm_mha(x)))


def test_no_matrix_of_weights_is_asked_for():
    layer = LeanTransformedLayer(8, 2, 6)
    asked = []
    layer.mha.register_forward_hook(lambda module, given, made: asked.append(made[1]))
    layer(torch.randn(1, 8, 20))
    assert asked == [None]
