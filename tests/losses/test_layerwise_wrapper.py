"""A loss over layers."""

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.losses import AttentionPITLossWrapper, ExactPITLossWrapper, LayerwiseLossWrapper, SwitchedLossWrapper
from asteroid_stab.losses.assignment import reorder


def signals(n_layers=3, n_items=4, n_src=3):
    random = torch.Generator().manual_seed(0)
    targets = torch.randn(n_items, n_src, 100, generator=random)
    noise = torch.randn(n_layers, n_items, n_src, 100, generator=random)
    return targets[:, torch.randperm(n_src, generator=random)] + noise, targets


def exact():
    return ExactPITLossWrapper(pairwise_neg_sisdr)


@pytest.mark.parametrize(
    ("arguments", "weights"),
    [
        ({}, [1 / 3, 1 / 3, 1 / 3]),
        ({"weights": "linear"}, [1 / 9, 2 / 9, 3 / 9]),
        ({"weights": "last"}, [0.0, 0.0, 1.0]),
        ({"weights": "last", "early_weight": 0.4}, [0.2, 0.2, 1.0]),
    ],
)
def test_it_is_the_weighted_sum_of_the_layers_losses(arguments, weights):
    layers, targets = signals()
    wrapper = LayerwiseLossWrapper(exact(), **arguments)
    assert wrapper.layer_weights(3) == pytest.approx(weights)
    parts = [exact().assign(layer, targets) for layer in layers]
    assigned = wrapper.assign(layers, targets)
    loss, perm = assigned
    torch.testing.assert_close(loss, sum(w * part.loss for w, part in zip(weights, parts, strict=True)))
    assert torch.equal(perm, torch.stack([part.perm for part in parts]))
    for r, part in enumerate(parts):
        torch.testing.assert_close(assigned.figures[f"loss_layer{r}"], part.loss.mean())


def test_all_layers_can_have_the_last_ones_assignment():
    layers, targets = signals()
    loss, perm = LayerwiseLossWrapper(exact(), perm="last").assign(layers, targets)
    last = exact().assign(layers[-1], targets).perm
    assert torch.equal(perm, last.expand(3, -1, -1))
    pw = torch.stack([pairwise_neg_sisdr(reorder(layer, last), targets).diagonal(dim1=1, dim2=2) for layer in layers])
    torch.testing.assert_close(loss, pw.mean(0), rtol=1e-4, atol=1e-4)


def test_layers_without_weight_have_no_gradient():
    layers, targets = signals()
    layers.requires_grad_()
    LayerwiseLossWrapper(exact(), weights="last")(layers, targets).backward()
    assert (layers.grad[:2] == 0).all()
    assert layers.grad[2].abs().sum() > 0


@pytest.mark.parametrize("weights", ["uniform", "linear", "last"])
def test_one_layer_is_the_plain_loss_to_the_bit(weights):
    layers, targets = signals(n_layers=1)
    results = []
    for wrapper, est in ((LayerwiseLossWrapper(exact(), weights), layers), (exact(), layers[0])):
        est = est.clone().requires_grad_()
        value = wrapper(est, targets)
        value.backward()
        results.append((value.detach(), est.grad.view(layers[0].shape)))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    plain = LayerwiseLossWrapper(exact(), weights)
    assert plain.assign(layers[0], targets).perm.shape == (1, 4, 3)
    assert torch.equal(plain(layers[0], targets, return_est=True)[1], exact()(layers[0], targets, return_est=True)[1])
    with pytest.raises(ValueError, match=r"at least 1 layer, got shape \[0, 4, 3, 100\]"):
        plain.assign(layers[:0], targets)


def test_the_hooks_reach_the_inner_loss():
    attention = AttentionPITLossWrapper(pairwise_neg_sisdr, 3)
    inner = SwitchedLossWrapper({"a": attention, "b": exact()}, {"a": 0, "b": 1})
    wrapper = LayerwiseLossWrapper(inner)
    assert len(wrapper.trained_parameters()) == 8
    wrapper.set_epoch(1)
    assert inner.phase == "b"
    assert wrapper.trained_parameters() == []
    assert not wrapper.remembers_items


def test_the_last_ones_assignment_must_be_hard():
    with pytest.raises(ValueError, match=r"perm='last' must have an exact or fixed .* got AttentionPITLossWrapper"):
        LayerwiseLossWrapper(AttentionPITLossWrapper(pairwise_neg_sisdr, 3), perm="last")


def test_the_figure_of_a_layer_is_the_mean_of_what_is_defined():
    layers, targets = signals()
    targets[0, 1] = 0.0
    wrapper = LayerwiseLossWrapper(exact())
    figures = wrapper.assign(layers, targets).figures
    torch.testing.assert_close(figures["loss_layer0"], exact().assign(layers[0], targets).loss.nanmean())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": "none"}, "weights must be one of uniform, linear, last, got 'none'"),
        ({"perm": "first"}, "perm must be one of own, last, got 'first'"),
        ({"early_weight": 0.1}, "early_weight must be at least 0, and 0 unless weights='last', got 0.1"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LayerwiseLossWrapper(exact(), **arguments)
