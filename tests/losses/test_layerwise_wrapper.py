"""A loss over layers."""

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.losses import (
    AttentionPITLossWrapper,
    ExactPITLossWrapper,
    LayerwiseLossWrapper,
    SteppedSchedule,
    SwitchedLossWrapper,
)
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
        ({"weights": "blend"}, [0.0, 0.0, 1.0]),
        ({"weights": "blend", "early_weight": 0.4}, [0.2, 0.2, 0.6]),
        ({"weights": "blend", "early_weight": 1.0}, [0.5, 0.5, 0.0]),
        ({"weights": "blend", "early_schedule": lambda epoch: 0.4}, [0.2, 0.2, 0.6]),
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
        ({"weights": "none"}, "weights must be one of uniform, linear, last, blend, got 'none'"),
        ({"perm": "first"}, "perm must be one of own, last, got 'first'"),
        ({"early_weight": 0.1}, "and 0 unless weights='last' or 'blend', got 0.1"),
        ({"weights": "last", "early_weight": -0.1}, "early_weight must be at least 0, .* got -0.1"),
        ({"weights": "blend", "early_weight": 1.1}, "at most 1 with weights='blend', .* got 1.1"),
        ({"weights": "blend", "early_schedule": lambda epoch: 2.0}, "at most 1 with weights='blend', .* got 2.0"),
        (
            {"early_schedule": lambda epoch: 0.0},
            "early_schedule needs weights='last' or 'blend', got weights='uniform'",
        ),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LayerwiseLossWrapper(exact(), **arguments)


def learnt(wrapper, layers, targets):
    layers = layers.clone().requires_grad_()
    loss = wrapper.assign(layers, targets).loss
    return loss, torch.autograd.grad(loss.sum(), layers)[0]


def same(a, b):
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("weights", ["last", "blend"])
def test_a_constant_schedule_is_the_constant_to_the_bit(weights, weight):
    layers, targets = signals()
    scheduled = LayerwiseLossWrapper(exact(), weights, early_schedule=SteppedSchedule(weight))
    wanted = learnt(LayerwiseLossWrapper(exact(), weights, weight), layers, targets)
    for epoch in (0, 7, 1000):
        scheduled.set_epoch(epoch)
        same(learnt(scheduled, layers, targets), wanted)


@pytest.mark.parametrize("n_layers", [2, 3, 4, 6])
def test_blend_is_uniform_at_equal_weights_and_last_at_0_to_the_bit(n_layers):
    """In float32, as models are trained."""
    layers, targets = signals(n_layers)
    equal = LayerwiseLossWrapper(exact(), "blend", (n_layers - 1) / n_layers)
    same(learnt(equal, layers, targets), learnt(LayerwiseLossWrapper(exact()), layers, targets))
    none = LayerwiseLossWrapper(exact(), "blend", early_schedule=SteppedSchedule(0.0))
    same(learnt(none, layers, targets), learnt(LayerwiseLossWrapper(exact(), "last"), layers, targets))
    for wrapper in (equal, none):
        same(learnt(wrapper, layers[-1:], targets), learnt(exact(), layers[-1], targets)[:1] + learnt(
            LayerwiseLossWrapper(exact()), layers[-1:], targets)[1:])  # one layer is the last  # fmt: skip


def test_the_weight_follows_the_schedule_against_a_slow_sum():
    """(1 - a(e)) L_last + a(e) mean(L_early), in float64."""
    layers, targets = (signal.double() for signal in signals())
    wrapper = LayerwiseLossWrapper(exact(), "blend", early_schedule=SteppedSchedule(0.4, 0.5, 2, 3))
    for epoch, a in enumerate([0.4, 0.4, 0.2, 0.2, 0.2, 0.1]):
        wrapper.set_epoch(epoch)
        assigned = wrapper.assign(layers, targets)
        for item in range(len(targets)):
            for source in range(3):
                each = []
                for r, layer in enumerate(layers):
                    one = layer[item, assigned.perm[r, item, source]]
                    each.append(pairwise_neg_sisdr(one.view(1, 1, -1), targets[item, source].view(1, 1, -1)).item())
                wanted = (1 - a) * each[-1] + a * (each[0] + each[1]) / 2
                assert assigned.loss[item, source].item() == pytest.approx(wanted, rel=1e-9)
        assert assigned.figures["early_weight"].item() == pytest.approx(a)


def test_layers_without_weight_in_an_epoch_stay_in_the_graph_and_keep_the_marks():
    """DDP waits for the gradients of their heads; a source or item without a loss is still told from one with."""
    layers, targets = signals()
    targets[1, 2], layers[:, 2, 0, 5] = 0, torch.nan
    for schedule in (SteppedSchedule(0.0), SteppedSchedule(1.0)):
        wrapper = LayerwiseLossWrapper(exact(), "blend", early_schedule=schedule)
        each = [layer.clone().requires_grad_() for layer in layers]
        loss = wrapper.assign(torch.stack(each), targets).loss
        assert loss[1].isnan().tolist() == [False, False, True]
        assert loss[2].isposinf().all()
        gradients = torch.autograd.grad(loss[loss.isfinite()].sum(), each)
        idle = gradients[:-1] if schedule(0) == 0 else gradients[-1:]
        assert not any(gradient.any() for gradient in idle)
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert sum(bool(gradient.any()) for gradient in gradients) == 3 - len(idle)


def test_it_says_whether_early_layers_may_be_trained():
    assert not LayerwiseLossWrapper(exact(), "blend").trains_early
    assert LayerwiseLossWrapper(exact(), "blend", 0.1).trains_early
    assert LayerwiseLossWrapper(exact(), "blend", early_schedule=SteppedSchedule(0.0)).trains_early
