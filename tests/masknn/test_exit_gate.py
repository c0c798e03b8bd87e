"""The gate against its equation, written out."""

import pytest
import torch
from torch.nn.functional import interpolate

from asteroid_stab.errors import StabError
from asteroid_stab.masknn import ExitGate


def gate_of(n_chan=3, n_frames=20, seed=0, **arguments):
    torch.manual_seed(seed)
    return ExitGate(n_chan, n_frames, **arguments).double()


def slow_scores(gate, hidden):
    """F(h) by loops, of signals of the gate's own length."""
    scores = torch.zeros(len(hidden), 2, dtype=hidden.dtype)
    weight, bias = gate.over_frames.weight, gate.over_frames.bias
    for b, item in enumerate(hidden):
        z = gate.by_frame.weight[:, :, 0] @ item + gate.by_frame.bias[:, None]
        z = torch.where(z > 0, z, gate.act.weight * z)
        for channel in range(2):
            scores[b, channel] = (weight[channel] * z).sum() + bias[channel]
    return scores


def test_size_of_the_papers():
    assert sum(p.numel() for p in ExitGate().parameters()) == 258 + 1 + 12_802 == 13_061


def test_the_decision_is_the_greater_score():
    gate = gate_of().eval()
    hidden = 3 * torch.randn(40, 3, 20, dtype=torch.float64)
    scores = slow_scores(gate, hidden)
    torch.testing.assert_close(gate.scores(hidden), scores)
    g = gate(hidden)
    assert g.shape == (40,)
    assert 0 < g.sum() < 40
    assert torch.equal(g, (scores[:, 0] > scores[:, 1]).double())
    assert torch.equal(g, gate(hidden))


def test_other_lengths_are_brought_to_the_gates():
    gate = gate_of().eval()
    for n_frames in (1, 7, 19, 21, 64):
        hidden = torch.randn(5, 3, n_frames, dtype=torch.float64)
        z = gate.act(gate.by_frame(hidden))
        z = torch.stack([interpolate(item[None], 20, mode="linear")[0] for item in z])
        torch.testing.assert_close(gate.scores(hidden), gate.over_frames(z)[..., 0])
        assert gate(hidden).shape == (5,)


def test_a_constant_has_the_same_decision_at_any_length():
    gate = gate_of()
    level = torch.randn(6, 3, 1, dtype=torch.float64)
    torch.testing.assert_close(gate.scores(level.expand(-1, -1, 9)), gate.scores(level.expand(-1, -1, 20)))


def test_training_draws_with_the_softmaxs_probability():
    """The Gumbel maximum is "process" with the probability that the softmax of the scores gives it."""
    gate = gate_of(seed=3)
    hidden = torch.randn(1, 3, 20, dtype=torch.float64)
    wanted = gate.scores(hidden).softmax(1)[0, 0].item()
    assert 0.1 < wanted < 0.9
    torch.manual_seed(0)
    drawn = gate(hidden.expand(20_000, -1, -1))
    assert set(drawn.tolist()) == {0.0, 1.0}
    assert drawn.mean().item() == pytest.approx(wanted, abs=0.015)


def test_the_noise_is_of_the_global_generator():
    gate, hidden = gate_of(), torch.randn(50, 3, 20, dtype=torch.float64)
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(gate(hidden).tolist())
    assert draws[0] == draws[1] != draws[2]


def test_the_gradient_is_the_softmaxs():
    gate = gate_of()
    hidden = torch.randn(8, 3, 20, dtype=torch.float64, requires_grad=True)
    weights = torch.arange(1.0, 9.0, dtype=torch.float64)
    wanted = [hidden, *gate.parameters()]
    torch.manual_seed(5)
    given = torch.autograd.grad((weights * gate(hidden)).sum(), wanted)
    torch.manual_seed(5)
    noisy = gate.scores(hidden) - torch.empty(8, 2, dtype=torch.float64).exponential_().log()
    reference = torch.autograd.grad((weights * noisy.softmax(1)[:, 0]).sum(), wanted)
    for a, b in zip(given, reference, strict=True):
        torch.testing.assert_close(a, b)
        assert a.abs().sum() > 0


@pytest.mark.parametrize("training", [True, False])
def test_a_tie_means_process(training, monkeypatch):
    gate = gate_of().train(training)
    torch.nn.init.zeros_(gate.over_frames.weight)
    torch.nn.init.zeros_(gate.over_frames.bias)
    monkeypatch.setattr(torch.Tensor, "exponential_", lambda self: self.fill_(1.0))
    assert gate(torch.randn(4, 3, 20, dtype=torch.float64)).tolist() == [1.0] * 4


def test_noise_of_zero_and_half_precision_stay_finite(monkeypatch):
    gate = ExitGate(3, 20)
    monkeypatch.setattr(torch.Tensor, "exponential_", torch.Tensor.zero_)
    hidden = torch.randn(4, 3, 20, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        g = gate(hidden)
    assert g.dtype == torch.float32
    g.sum().backward()
    assert torch.isfinite(hidden.grad).all()
    assert gate.bfloat16()(hidden.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_no_score(dtype):
    torch.manual_seed(0)
    gate, hidden = ExitGate(8, 50).eval(), torch.randn(30, 8, 50)
    with torch.autocast("cpu", dtype):
        scores = gate.scores(hidden)
    exact = gate.double().scores(hidden.double())
    torch.testing.assert_close(scores, exact.float(), rtol=1e-4, atol=1e-6)


def test_the_initial_bias_is_added():
    plain, biased = gate_of(), gate_of(process_bias=2.5)
    difference = biased.over_frames.bias - plain.over_frames.bias
    torch.testing.assert_close(difference, torch.tensor([2.5, 0.0], dtype=torch.float64), atol=1e-6, rtol=0)
    for name, value in plain.state_dict().items():
        assert name == "over_frames.bias" or torch.equal(value, biased.state_dict()[name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_chan": 0}, "n_chan of an exit gate must be at least 1, got 0"),
        ({"n_frames": -1}, "n_frames of an exit gate must be at least 1, got -1"),
    ],
)
def test_sizes_out_of_range_are_refused(arguments, message):
    with pytest.raises(StabError, match=message):
        ExitGate(**arguments)


def test_noise_of_the_callers_is_taken():
    gate = ExitGate(n_chan=3, n_frames=10)
    hidden = torch.randn(4, 3, 10)
    noise = torch.zeros(4, 2)
    noise[:2, 0], noise[2:, 1] = 1e3, 1e3
    assert torch.equal(gate(hidden, noise).detach(), torch.tensor([1.0, 1.0, 0.0, 0.0]))
    before = torch.random.get_rng_state()
    gate(hidden, noise)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(gate.eval()(hidden, noise), gate(hidden))


@pytest.mark.parametrize("shape", [(3, 10), (2, 4, 10), (2, 3, 0)])
def test_frames_of_another_shape_are_refused(shape):
    with pytest.raises(StabError, match=r"needs frames \[B, 3, L\] with L above 0, got \["):
        ExitGate(n_chan=3, n_frames=10)(torch.zeros(shape))


def test_noise_of_another_batch_is_refused():
    with pytest.raises(StabError, match=r"noise must be \[2, 2\], got \[4, 2\]"):
        ExitGate(n_chan=3, n_frames=10)(torch.zeros(2, 3, 10), torch.zeros(4, 2))
