"""The trial of a hosted model: it finds what cannot work, and leaves no trace."""

import copy
import random

import numpy as np
import own_nets
import pytest
import torch
from torch import nn

from asteroid_stab.errors import StabError
from asteroid_stab.models import hosted
from asteroid_stab.models.probing import probe


def model_of(net, **kwargs):
    return hosted(net, n_src=2, sample_rate=8000, **kwargs)


def states():
    return torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002


@pytest.mark.parametrize("training", [True, False])
def test_no_trace_is_left(training):
    model = model_of(own_nets.Restless).train(training)
    model.net.norm.eval()
    before, weights = states(), copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    attributes = [{*vars(module)} for module in model.modules()]
    probe(model, 801)
    for a, b in zip(before, states(), strict=True):
        assert (
            np.array_equal(a, b) if isinstance(a, np.ndarray) else torch.equal(a, b) if torch.is_tensor(a) else a == b
        )
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert [*model.state_dict()] == [*weights]
    assert [module.training for module in model.modules()] == modes
    assert [{*vars(module)} for module in model.modules()] == attributes
    assert (model.net.n_calls, model.net.seen, model.net.cached) == (0, [], None)
    assert all(p.grad is None for p in model.parameters())


def test_the_net_is_really_called():
    """Else the test before would hold of a trial that does nothing."""
    model = model_of(own_nets.Restless)
    model(torch.randn(2, 801))
    assert (model.net.n_calls, model.net.seen, model.net.calls.item()) == (1, [2], 1)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (own_nets.Flat, r"own_nets.Flat must give \[B, J, T\] with B=2, J=2, T=800, got \[2, 800\]"),
        (own_nets.HalfTime, r"T=800, got \[2, 2, 400\]"),
        (own_nets.AsText, r"T=800, got str"),
        (own_nets.NotFinite, r"own_nets.NotFinite gives estimates that are not finite \(NaN or infinite\) for noise"),
        (own_nets.Breaks, r"cannot separate mixtures of shape \[2, 800\] in evaluation mode: KeyError: 'speaker'"),
        (own_nets.ListInTraining, r"T=800, got a list of \[2, 2, 800\], \[2, 2, 800\] \(model=hosted: outputs=list"),
        (own_nets.LazyMask, r"own_nets.LazyMask has layers without a size \(lazy ones\), which .*: net.mask.weight"),
        (nn.LazyBatchNorm1d, r"LazyBatchNorm1d has layers without a size .*: net.weight"),
    ],
)
def test_what_cannot_work_is_found(net, message):
    model = model_of(net)
    with pytest.raises(StabError, match=message):
        probe(model, 800)
    assert model.training


def test_mixtures_that_are_too_short_are_found():
    with pytest.raises(StabError, match=r"shape \[2, 10\] in evaluation mode: RuntimeError: "):
        probe(model_of(own_nets.TinyMask), 10)


@pytest.mark.parametrize("n_mics", [3, None])
def test_several_microphones_are_tried(n_mics):
    model = model_of(own_nets.AllMics, inputs="channel_time", n_mics=n_mics)
    probe(model, 800)
    shape = [2, n_mics or 2, 800]
    model.net.forward = lambda x: x.mean("no axis")
    with pytest.raises(StabError, match=rf"cannot separate mixtures of shape \[{shape[0]}, {shape[1]}, 800\]"):
        probe(model, 800)
