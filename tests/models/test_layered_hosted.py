"""Layers of a net of somebody else: its own end serves each, the last one is the plain net, wrong names are refused."""

import copy

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr
from own_nets import Added, AllMics, Chain, TinyMask, UShaped

from asteroid_stab.errors import StabError
from asteroid_stab.losses import ExactPITLossWrapper, LayerwiseLossWrapper
from asteroid_stab.models import (
    HostedModel,
    LayeredHostedModel,
    conv_tasnet,
    hosted,
    layered_model,
    load_model,
    save_model,
)


def make(layers="blocks.*", seed=0, **args):
    torch.manual_seed(seed)
    model = hosted(Chain, args, n_src=2, sample_rate=8000)
    return model if layers is None else layered_model(model, layers=layers)


def by_hand(model, x, k):
    """Estimates of the first k layers' output by the net's end, written out."""
    net = model.net
    rep = hidden = net.encoder(x.unsqueeze(1))
    for i in net.order[:k]:
        hidden = net.blocks[i](hidden)
    hidden = hidden + 1 if net.in_place else hidden
    masks = torch.sigmoid(net.mask(hidden)).view(len(x), 2, -1, rep.shape[-1])
    est = net.decoder((masks * rep.unsqueeze(1)).flatten(0, 1)).view(len(x), 2, -1)
    return torch.nn.functional.pad(est, (0, x.shape[-1] - est.shape[-1]))


def test_each_layer_goes_through_the_end_of_the_net():
    model, x = make(), torch.randn(3, 803)
    est = model(x)
    assert est.shape == (3, 3, 2, 803)
    for k in range(3):
        torch.testing.assert_close(est[k], by_hand(model, x, k + 1))
    plain = make(layers=None)
    assert torch.equal(est[-1], plain(x))
    assert torch.equal(model.eval()(x), plain.eval()(x))
    assert model.n_layers == 3


@pytest.mark.parametrize("args", [{}, {"in_place": True}, {"recomputed": "not reentrant"}])
def test_gradients_are_the_written_out_ones_and_reach_all_layers(args):
    model, x, targets = make(**args), torch.randn(2, 800), torch.randn(2, 2, 800)
    loss = LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr))
    loss(model(x), targets).backward()
    found = {name: p.grad for name, p in model.named_parameters()}
    other = make(**args)
    loss(torch.stack([by_hand(other, x, k) for k in (1, 2, 3)]), targets).backward()
    for name, p in other.named_parameters():
        if p.grad is None:
            assert found[name] is None
        else:
            torch.testing.assert_close(found[name], p.grad)
    assert all(found[f"net.blocks.{i}.0.weight"].any() for i in range(3))


def test_layers_that_are_watched_have_no_gradient():
    model, x = make(), torch.randn(2, 800)
    model.watch_early()
    est = model(x)
    assert est.requires_grad
    est[:-1].sum().backward()
    assert not any(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # torch's, where layers are watched
def test_blocks_without_gradient_can_be_watched_but_not_trained():
    model, x = make(recomputed="reentrant"), torch.randn(2, 800)
    with pytest.raises(StabError, match="without gradient .* cannot be trained .* checkpoint with use_reentrant=False"):
        model(x)
    model.watch_early()
    est = model(x)
    torch.testing.assert_close(est[0], by_hand(model, x, 1))
    est.sum().backward()
    assert model.net.blocks[0][0].weight.grad.any()


def test_layers_are_in_the_order_of_their_calls_and_may_be_some():
    model = make(order=[2, 0, 1])
    assert model.call_names == ("blocks.2", "blocks.0", "blocks.1")
    some = make(layers=["blocks.2", "blocks.0"])
    assert some.call_names == ("blocks.0", "blocks.2")
    x = torch.randn(1, 800)
    est = some(x)
    torch.testing.assert_close(est[0], by_hand(some, x, 1))
    torch.testing.assert_close(est[1], by_hand(some, x, 3))


def test_the_net_is_itself_after_a_step_and_after_an_error(monkeypatch):
    model, x = make(), torch.randn(1, 800)
    before = [name for name, _ in model.named_modules()]
    keys = set(model.state_dict())
    model(x).sum().backward()
    with monkeypatch.context() as patch:
        patch.setattr(model.net.mask, "forward", lambda *_: torch.zeros(7))
        with pytest.raises(RuntimeError):
            model(x)
    assert [name for name, _ in model.named_modules()] == before
    assert set(model.state_dict()) == keys
    assert not any(module._forward_hooks for module in model.modules())
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.net.mask.weight.zero_()
    assert not torch.equal(twin(x), model(x))


def test_naming_layers_draws_no_random_number():
    model = make(layers=None)
    state = torch.get_rng_state()
    layered_model(model, layers="blocks.*")
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training


def test_its_file_is_the_plain_model_s(tmp_path):
    model, x = make(), torch.randn(1, 800)
    save_model(model, tmp_path / "model.pth")
    loaded = load_model(tmp_path / "model.pth", trust=["own_nets"])
    assert type(loaded) is HostedModel
    torch.testing.assert_close(loaded(x), model.eval()(x))


@pytest.mark.parametrize(
    ("layers", "args", "message"),
    [
        (
            None,
            {},
            r"layers of own_nets.Chain must be named: head.model.layers=PATTERN.*it has encoder, blocks, blocks.0",
        ),
        ("block.*", {}, r"has no module 'block.\*' \(did you mean 'blocks"),
        (["blocks.*", "unused"], {}, "each layer of own_nets.Chain must be called, and 'unused' is not"),
        (
            "blocks.*",
            {"leak": True},
            "are no chain, .*: what follows the last one needs more than its output, .* heads?",
        ),
        (
            ["encoder", "mask"],
            {},
            "follows the last one needs more than its output, so that it cannot serve the others",
        ),
    ],
)
def test_layers_that_cannot_be(layers, args, message):
    model = make(layers=None, **args)
    with pytest.raises(StabError, match=message):
        layered_model(model, layers=layers)
    assert type(model) is HostedModel


def test_other_models_and_heads_are_refused():
    with pytest.raises(StabError, match="layers of ConvTasNet are known: layers must be null, got 'TCN'"):
        layered_model(conv_tasnet(2, n_filters=8, n_blocks=1, n_repeats=1, bn_chan=4, hid_chan=4), layers="TCN")


def test_a_module_that_is_called_several_times_is_as_many_layers():
    model, x = make(twice=True), torch.randn(2, 800)
    assert model.n_layers == 6
    assert model.call_names[:3] == ("blocks.0", "blocks.0", "blocks.1")
    est = model(x)
    for k in range(6):
        hidden = model.net.encoder(x.unsqueeze(1))
        for i in [0, 0, 1, 1, 2, 2][: k + 1]:
            hidden = model.net.blocks[i](hidden)
        torch.testing.assert_close(est[k], ended(model.net, hidden, x))


def ended(net, hidden, x):
    """Estimates of a state of Chain or Added, padded as hosted models pad."""
    rep = net.encoder(x.unsqueeze(1))
    masks = torch.sigmoid(net.mask(hidden)).view(len(x), 2, -1, rep.shape[-1])
    est = net.decoder((masks * rep.unsqueeze(1)).flatten(0, 1)).view(len(x), 2, -1)
    return torch.nn.functional.pad(est, (0, x.shape[-1] - est.shape[-1]))


@pytest.mark.parametrize("args", [{}, {"skips": True}, {"shared": True}, {"skips": True, "shared": True}])
def test_outputs_that_are_added_are_left_out_after_the_layer(args):
    torch.manual_seed(1)
    model = layered_model(hosted(Added, args, n_src=2, sample_rate=8000), layers="blocks.*")
    x, targets = torch.randn(2, 803), torch.randn(2, 2, 803)
    assert model.added
    assert model.n_layers == 3
    est = model(x)
    cut = torch.nn.functional.pad
    wanted = torch.stack([cut(e := model.net(x, k), (0, 803 - e.shape[-1])) for k in (1, 2, 3)])
    torch.testing.assert_close(est, wanted)
    loss = LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr))
    parameters = [*model.parameters()]
    found = torch.autograd.grad(loss(est, targets), parameters, allow_unused=True)
    for a, b in zip(found, torch.autograd.grad(loss(wanted, targets), parameters, allow_unused=True), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b)
    assert torch.equal(est[-1], HostedModel.forward(model, x))


def test_layers_whose_outputs_the_end_cannot_take_are_refused():
    model = hosted(UShaped, {}, n_src=2, sample_rate=8000)
    with pytest.raises(StabError, match=r"the last one fails on the output of 'down' \(.*2000.*\), so that it cannot"):
        layered_model(model, layers=["down", "up"])


def test_outputs_that_are_added_to_what_is_scaled_are_refused():
    model = hosted(Added, {"normed": True}, n_src=2, sample_rate=8000)
    with pytest.raises(StabError, match="no chain, and their outputs are not added to one state"):
        layered_model(model, layers="blocks.*")
    assert "layer_heads" not in vars(model)


def test_layers_that_begin_with_zeros_are_told_apart_by_what_they_become():
    """As residual blocks whose last layer begins with zeros: both kinds of nets give the same at first."""
    for kind, added in ((Added, True), (Chain, False)):
        model = hosted(kind, {}, n_src=2, sample_rate=8000)
        with torch.no_grad():
            for block in model.net.blocks[0 if added else 1 :]:
                block[0].weight.zero_()
                block[0].bias.zero_()
        assert layered_model(model, layers="blocks.*").added == added


def test_other_calls_than_those_found_are_refused():
    model, x = make(), torch.randn(1, 800)
    model.net.order = [0, 1]
    with pytest.raises(StabError, match="called in one order: 3 calls, blocks.0, .*; got 2 calls, blocks.0, blocks.1"):
        model(x)


U_LAYERS = ["front", "down", "rows", "up"]


def dedicated(layers=U_LAYERS, seed=0):
    torch.manual_seed(seed)
    return layered_model(hosted(UShaped, {}, n_src=2, sample_rate=8000), "dedicated", layers)


def test_mask_heads_serve_layers_of_any_shape():
    model, x, targets = dedicated(), torch.randn(3, 804), torch.randn(3, 2, 804)
    est = model(x)
    assert est.shape == (4, 3, 2, 804)
    assert torch.equal(est[-1], HostedModel.forward(model, x))
    assert torch.equal(model.eval()(x), HostedModel.forward(model, x))
    model.train()
    LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr))(est, targets).backward()
    assert all(p.grad is not None and p.grad.any() for name, p in model.named_parameters() if "bias" not in name)
    one = torch.stack([model(x[i : i + 1])[:, 0] for i in range(3)], 1)
    torch.testing.assert_close(one, est)


def test_mask_heads_alone_are_trained_for_the_last_layer_s_loss_and_not_where_layers_are_watched():
    model, x = dedicated(), torch.randn(2, 800)
    model(x)[-1].square().sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in model.layer_heads.parameters())
    model.watch_early()
    assert not any(p.requires_grad for p in model.layer_heads.parameters())
    model.zero_grad()
    model(x)[:-1].sum().requires_grad_().backward()
    assert not any(p.grad is not None and p.grad.any() for p in model.parameters())


def test_mask_heads_stay_out_of_files_and_of_models_with_fewer_outputs(tmp_path):
    model, x = dedicated(), torch.randn(2, 800)
    assert any(name.startswith("layer_heads.") for name in model.state_dict())
    save_model(model, tmp_path / "model.pth")
    loaded = load_model(tmp_path / "model.pth", trust=["own_nets"])
    assert type(loaded) is HostedModel
    torch.testing.assert_close(loaded(x), model.eval()(x))
    torch.testing.assert_close(model.with_outputs([1])(x), model(x)[:, 1:])


def test_mask_heads_need_axes_of_items_and_of_time():
    with pytest.raises(StabError, match=r"one axis of items and one of time, and 'mean' gives \[2, 16, 1\], for more"):
        dedicated(["mean", "up"])
    with pytest.raises(StabError, match="head must be one of shared, dedicated, got 'both'"):
        layered_model(make(layers=None), "both", "blocks.*")


def test_a_single_layer_is_the_plain_net():
    torch.manual_seed(0)
    model = layered_model(hosted(TinyMask, {}, n_src=2, sample_rate=8000), layers="encoder")
    assert isinstance(model, LayeredHostedModel)
    assert model(torch.randn(2, 800)).shape == (1, 2, 2, 800)


@pytest.mark.parametrize(("head", "layers"), [("shared", ["mask"]), ("dedicated", ["encoder", "mask"])])
def test_layers_of_several_microphones(head, layers):
    kwargs = {"inputs": "channel_time", "n_mics": 2}
    model = layered_model(hosted(AllMics, n_src=2, sample_rate=8000, **kwargs), head, layers)
    assert model.train()(torch.randn(3, 2, 800)).shape == (len(layers), 3, 2, 800)
    assert model.eval()(torch.randn(3, 2, 800)).shape == (3, 2, 800)
