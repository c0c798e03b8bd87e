"""weighted_mean against a float64 softmax, over one process and several."""

import pytest
import torch

from asteroid_stab.losses.weighting import weighted_mean

INF = float("inf")


@pytest.mark.parametrize("shape", [(5,), (8,), (5, 3)])
def test_zero_logits_are_the_plain_mean_to_the_bit(shape):
    torch.manual_seed(0)
    loss = torch.randn(shape, requires_grad=True)
    plain = torch.autograd.grad(loss.mean(), loss)[0]
    for logits in (None, torch.zeros(shape), torch.zeros(shape[0])):
        mean = weighted_mean(loss, logits)
        assert torch.equal(mean.value, loss.mean())
        assert torch.equal(torch.autograd.grad(mean.value, loss)[0], plain)


def test_weights_are_the_softmax_and_the_gradient():
    torch.manual_seed(1)
    loss = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    logits = 3 * torch.randn(6, 2, dtype=torch.float64)
    mean = weighted_mean(loss, logits)
    reference = logits.flatten().softmax(0).view(6, 2)
    torch.testing.assert_close(mean.weights, reference)
    torch.testing.assert_close(torch.autograd.grad(mean.value, loss)[0], reference)
    torch.testing.assert_close(weighted_mean(loss, logits + 700).value, mean.value)


def test_an_items_logit_counts_for_each_of_its_sources():
    loss, item = torch.randn(4, 3), torch.randn(4)
    weights = weighted_mean(loss, item).weights
    torch.testing.assert_close(weights, (item.softmax(0) / 3)[:, None].expand(4, 3))


def test_undefined_losses_have_no_weight_and_no_gradient():
    values = torch.tensor([1.0, INF, float("nan"), 5.0], requires_grad=True)
    mean = weighted_mean(values, torch.tensor([0.0, INF, float("nan"), 0.0]))
    assert mean.value == 3.0
    assert mean.weights.tolist() == [0.5, 0.0, 0.0, 0.5]
    assert torch.autograd.grad(mean.value, values)[0].tolist() == [0.5, 0.0, 0.0, 0.5]


@pytest.mark.parametrize("logits", [torch.full((2,), -INF), None])
def test_nothing_left_is_a_zero_with_a_graph(logits):
    parameter = torch.ones(2, requires_grad=True)
    loss = parameter * 2 if logits is not None else torch.where(torch.tensor(False), parameter, INF)
    mean = weighted_mean(loss, logits)
    assert mean.value == 0
    assert mean.mass == 0
    assert torch.autograd.grad(mean.value, parameter)[0].tolist() == [0, 0]


@pytest.mark.parametrize("split", [(4, 4), (1, 7), (0, 8)])
@pytest.mark.parametrize("dropped", ["none", "first rank", "all"])
def test_ranks_add_up_to_one_process(split, dropped):
    torch.manual_seed(2)
    loss, logits = torch.randn(8, dtype=torch.float64), 50 * torch.randn(8, dtype=torch.float64)
    logits[: split[0] if dropped == "first rank" else 8 if dropped == "all" else 0] = -INF
    parts = [(a, b) for a, b in zip(loss.split(split), logits.split(split), strict=True) if len(a)]
    seen: list[torch.Tensor] = []
    for a, b in parts:  # what every rank would send
        weighted_mean(a, b, gather=lambda v: (seen.append(v), v.unsqueeze(0))[1])
    ranks = [weighted_mean(a, b, gather=lambda v: torch.stack(seen)) for a, b in parts]
    whole = weighted_mean(loss, logits)
    torch.testing.assert_close(sum(r.value for r in ranks), whole.value)
    torch.testing.assert_close(torch.cat([r.weights for r in ranks]), whole.weights)
    for r in ranks:
        torch.testing.assert_close(r.mass, whole.mass)
