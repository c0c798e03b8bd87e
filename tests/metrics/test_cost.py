"""Cost of models: counted operations beside the sums of their layers, and what cannot be counted."""

import pytest
import torch
from torch import nn

from asteroid_stab.masknn import use_fast_kernels
from asteroid_stab.metrics.cost import UncountedError, count_macs, first_cost, measure_cost
from asteroid_stab.models import conv_tasnet


class Recurrent(nn.Module):
    def __init__(self, kind, **kwargs):
        super().__init__()
        self.net = kind(5, 7, batch_first=True, **kwargs)

    def forward(self, mixture):
        return self.net(mixture.unflatten(1, (-1, 5)))[0].transpose(1, 2)


@pytest.mark.parametrize(
    ("kind", "kwargs", "weights"),
    [
        (nn.LSTM, {}, 4 * 7 * (5 + 7)),
        (nn.LSTM, {"bidirectional": True, "num_layers": 2}, 2 * 4 * 7 * (5 + 7) + 2 * 4 * 7 * (14 + 7)),
        (nn.GRU, {}, 3 * 7 * (5 + 7)),
    ],
)
def test_every_matrix_of_a_recurrent_layer_is_used_at_every_step(kind, kwargs, weights):
    assert count_macs(Recurrent(kind, **kwargs).eval(), torch.randn(3, 50)) == 3 * 10 * weights


def test_attention_is_counted_in_its_fast_path_too():
    layer = nn.MultiheadAttention(8, 2, batch_first=True, bias=False).eval()

    class Net(nn.Module):
        def forward(self, mixture):
            x = mixture.unflatten(1, (-1, 8))
            return layer(x, x, x, need_weights=False)[0]

    n = 6  # steps: four products with matrices of 8 x 8, and two of the steps with each other
    assert count_macs(Net(), torch.randn(2, n * 8)) == 2 * (4 * n * 64 + 2 * n * n * 8)


def test_faster_kernels_cost_what_the_layers_cost_that_they_stand_for():
    torch.manual_seed(0)
    model = conv_tasnet(2, n_filters=32, n_blocks=2, n_repeats=1, bn_chan=8, hid_chan=16, skip_chan=8).eval()
    x = torch.randn(1, 800)
    assert {"FastPReLU", "ShiftedConv1d"} <= {type(layer).__name__ for layer in model.modules()}
    frames = 99  # 16 taps, a step of 8
    blocks = 2 * (8 * 16 + 3 * 16 + 2 * 16 * 8)
    masker = 32 * 8 + blocks + 8 * 2 * 32
    assert count_macs(model, x) == frames * (masker + 32 * 16 + 2 * 32 * 16)
    assert {"FastPReLU", "ShiftedConv1d"} <= {type(layer).__name__ for layer in model.modules()}


def test_what_the_counter_does_not_know_is_named():
    class Product(nn.Module):
        def forward(self, mixture):
            return torch.mv(mixture.T, torch.ones(len(mixture))).view(1, 1, -1)

    with pytest.raises(UncountedError, match="no formula for mv"):
        count_macs(Product(), torch.randn(1, 160))
    cost = measure_cost(Product(), torch.randn(160), 8000)
    assert (cost.gmacs_per_s, cost.uncounted) == (None, "no formula for mv")
    assert cost.real_time_factor > 0


def test_a_net_that_trips_over_the_counter_is_timed(monkeypatch):
    import asteroid_stab.metrics.cost as module

    def fail(*_):
        raise RuntimeError("no modes here")

    monkeypatch.setattr(module, "count_macs", fail)
    assert measure_cost(nn.Unflatten(1, (1, -1)), torch.randn(80), 8000).uncounted == "RuntimeError: no modes here"


def test_four_seconds_are_measured(tiny_model):
    model = use_fast_kernels(tiny_model()).eval()
    long, short = (measure_cost(model, torch.randn(n), 8000) for n in (80_000, 8000))
    assert (long.length_s, short.length_s) == (4.0, 1.0)
    assert long.gmacs_per_s == pytest.approx(short.gmacs_per_s, rel=0.01)
    assert long.n_parameters == sum(p.numel() for p in model.parameters())
    assert (long.device, long.n_threads) == ("cpu", torch.get_num_threads())


def test_the_first_mixture_that_can_be_read_is_taken(tiny_model, tiny_corpus):
    data = tiny_corpus(n_valid=3).dataset("valid")
    read = type(data).read
    asked = []

    def broken(self, row, start, stop):
        asked.append(row)
        if row == 0:
            raise OSError("gone")
        return read(self, row, start, stop)

    type(data).read = broken
    try:
        assert first_cost(tiny_model().eval(), data).length_s == 0.15
        assert asked == [0, 1]
        type(data).read = lambda *_: 1 / 0
        assert first_cost(tiny_model().eval(), data) is None
    finally:
        type(data).read = read


def test_several_microphones_last_as_long_as_one():
    net = nn.Conv1d(3, 2, 5, bias=False).eval()
    cost = measure_cost(net, torch.randn(3, 8000), 8000)
    assert (cost.length_s, round(1e9 * cost.gmacs_per_s)) == (1.0, 3 * 2 * 5 * 7996)
