"""Every layer's estimates: the last one's are the host's, the others' what the head makes of them."""

import copy

import pytest
import torch
from asteroid.models import BaseModel, ConvTasNet, DPRNNTasNet, DPTNet, SuDORMRFImprovedNet

from asteroid_stab.errors import StabError
from asteroid_stab.models import LatentRefinementNet, conv_tasnet, layered_model, save_model
from asteroid_stab.models.layered import LayeredModel

DUAL = {"n_filters": 8, "chunk_size": 10, "n_repeats": 3}
REFINER = {"n_filters": 8, "bn_chan": 4, "upsampling_depth": 2, "noise_slot": False, "gate_segment_s": 0.05}
MAKE = {
    "conv": lambda n=2: ConvTasNet(n, n_filters=8, n_blocks=2, n_repeats=3, bn_chan=4, hid_chan=8, skip_chan=4),
    "conv_no_skip": lambda n=2: ConvTasNet(
        n, n_filters=8, n_blocks=2, n_repeats=3, bn_chan=4, hid_chan=8, skip_chan=None
    ),
    "dprnn": lambda n=2: DPRNNTasNet(n, bn_chan=4, hid_size=4, **DUAL),
    "dptnet": lambda n=2: DPTNet(n, n_heads=2, ff_hid=4, **DUAL),
    "sudormrf": lambda n=2: SuDORMRFImprovedNet(
        n, bn_chan=4, num_blocks=3, upsampling_depth=2, n_filters=8, kernel_size=21, stride=10
    ),
    "refiner": lambda n=2, **kwargs: LatentRefinementNet(n, n_blocks=2, n_iterations=[2, 1], **{**REFINER, **kwargs}),
}
every_model = pytest.mark.parametrize("kind", MAKE)


def pair(kind, head="shared", n_src=2):
    torch.manual_seed(0)
    plain = MAKE[kind](n_src)
    torch.manual_seed(0)
    return plain, layered_model(MAKE[kind](n_src), head)


@every_model
@pytest.mark.parametrize("n_src", [1, 3])
def test_the_last_layer_is_the_plain_model(kind, n_src):
    plain, model = pair(kind, n_src=n_src)
    wav = torch.randn(2, 400)
    out = model(wav)
    assert out.shape == (3, 2, n_src, 400)
    assert torch.equal(out[-1], plain(wav))
    assert not torch.allclose(out[0], out[-1])
    assert torch.equal(model.eval()(wav), plain.eval()(wav))
    assert model(wav[0]).shape == (n_src, 400)


@every_model
def test_gradients_of_the_last_layer_are_the_plain_models(kind):
    plain, model = pair(kind)
    wav = torch.randn(2, 400)
    plain(wav).square().mean().backward()
    model(wav)[-1].square().mean().backward()
    for (name, a), (_, b) in zip(plain.named_parameters(), model.named_parameters(), strict=True):
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, msg=name)


@every_model
def test_early_layers_go_through_the_head(kind):
    """A layer's estimates are those of the plain model whose later layers are taken out."""
    plain, model = pair(kind)
    wav = torch.randn(2, 400)
    first = model(wav)[0]
    net = plain.masker
    if kind.startswith("conv"):
        net.TCN = net.TCN[: net.n_blocks]
    elif kind == "sudormrf":
        net.sm = net.sm[:1]
    elif kind == "refiner":
        plain.n_iterations = [1, 0]
    else:
        setattr(net, *(("net", net.net[:1]) if kind == "dprnn" else ("layers", net.layers[:1])))
    assert torch.equal(first, plain(wav))


@every_model
def test_what_is_computed_again_has_the_same_gradient(kind, monkeypatch):
    """Against heads whose values are kept."""
    wav, gradients = torch.randn(2, 400), []
    for keep in (False, True):
        _, model = pair(kind)
        if keep:
            monkeypatch.setattr(
                "asteroid_stab.models.layered.checkpoint", lambda function, *args, use_reentrant: function(*args)
            )
        model(wav).square().mean().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, grad in gradients[0].items():
        torch.testing.assert_close(grad, gradients[1][name], msg=name)


@every_model
def test_dedicated_heads_begin_alike_and_are_trained_apart(kind, tmp_path):
    plain, model = pair(kind, "dedicated")
    wav = torch.randn(2, 400)
    _, shared = pair(kind)
    torch.testing.assert_close(model(wav), shared(wav))
    model(wav)[0].square().mean().backward()
    heads = [p for name, p in model.named_parameters() if name.startswith("layer_heads.0")]
    assert heads
    assert all(p.grad.abs().sum() > 0 for p in heads)
    others = [p for name, p in model.named_parameters() if name.startswith("layer_heads.1")]
    assert all((p.grad == 0).all() for p in others)
    assert all(getattr(model.masker, name) is not None for name in model.HEAD)
    save_model(model, tmp_path / "model.pth")
    saved = torch.load(tmp_path / "model.pth", weights_only=True)
    assert saved["state_dict"].keys() == plain.state_dict().keys()


@every_model
def test_the_file_is_the_plain_models(kind, tmp_path):
    plain, model = pair(kind)
    save_model(model, tmp_path / "model.pth")
    loaded = BaseModel.from_pretrained(str(tmp_path / "model.pth"))
    assert type(loaded) is type(plain)
    wav = torch.randn(1, 400)
    torch.testing.assert_close(loaded.eval()(wav), plain.eval()(wav))


@every_model
def test_layers_that_are_only_watched_cost_no_gradient(kind):
    plain, model = pair(kind, "dedicated")
    model.watch_early()
    wav = torch.randn(2, 400)
    layers = model(wav)
    assert not layers[0].detach().allclose(layers[-1])
    layers.square().mean(dim=(1, 2, 3)).sum().backward()
    plain(wav).square().mean().backward()
    for name, parameter in plain.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(model.get_parameter(name).grad, parameter.grad, rtol=1e-4, atol=1e-7, msg=name)
    assert all(p.grad is None for p in model.layer_heads.parameters())


def test_weights_of_the_host_load():
    source = MAKE["dptnet"]()
    model = layered_model(MAKE["dptnet"]())
    model.load_state_dict(source.state_dict())
    wav = torch.randn(1, 400)
    assert torch.equal(model(wav)[-1], source(wav))


def test_one_repeat_is_one_layer():
    model = layered_model(conv_tasnet(2, n_filters=8, n_blocks=2, n_repeats=1, bn_chan=4, hid_chan=8, skip_chan=4))
    assert model(torch.randn(2, 400)).shape == (1, 2, 2, 400)


def test_what_has_no_layers_is_refused():
    with pytest.raises(StabError, match="layers are known of ConvTasNet, .*, got Linear; another net .* hosted"):
        layered_model(torch.nn.Linear(1, 1))
    with pytest.raises(StabError, match="head must be one of shared, dedicated, got 'own'"):
        layered_model(MAKE["conv"](), "own")


# --- a refining network's layers are its iterations ---


def refiners(head="shared", **kwargs):
    """A plain one and one with layers, of the same weights."""
    torch.manual_seed(0)
    plain = MAKE["refiner"](**kwargs).double()
    return plain, layered_model(copy.deepcopy(plain), head)


@pytest.mark.parametrize("own_heads", [False, True])
def test_every_iteration_gives_what_the_model_of_as_many_gives(own_heads):
    plain, model = refiners(own_heads=own_heads, noise_slot=True)
    wav = torch.randn(2, 400, dtype=torch.float64)
    layers, figures = model.forward_with_figures(wav)
    assert layers.shape == (3, 2, 3, 400)
    assert figures["n_iterations"].tolist() == [3, 3]
    for layer, counts in zip(layers, ([1, 0], [2, 0], [2, 1]), strict=True):
        part = plain.truncated(1) if own_heads and counts[1] == 0 else plain
        torch.testing.assert_close(layer, part(wav, n_iterations=counts[: part.n_blocks]))
    assert model(wav, n_iterations=[4, 3]).shape == (7, 2, 3, 400)
    assert model(wav[0]).shape == (3, 3, 400)
    lengths = torch.tensor([400, 150])
    torch.testing.assert_close(model(wav, lengths=lengths)[-1], plain(wav, lengths=lengths))
    with pytest.raises(StabError, match=r"layers need an iteration at least, got n_iterations=\[0, 0\]"):
        model(wav, n_iterations=0)
    model.eval()
    assert torch.equal(model(wav), plain.eval()(wav))


def test_a_last_block_without_iterations_keeps_the_last_head():
    plain, model = refiners(own_heads=True)
    wav = torch.randn(2, 400, dtype=torch.float64)
    torch.testing.assert_close(model(wav, n_iterations=[2, 0])[-1], plain(wav, n_iterations=[2, 0]))


def test_gated_layers_draw_what_the_plain_model_draws():
    plain, model = refiners(gate=True)
    wav = torch.randn(8, 400, dtype=torch.float64)
    torch.manual_seed(1)
    layers, layered = model.forward_with_figures(wav)
    torch.manual_seed(1)
    est, figures = plain.forward_with_figures(wav)
    n_layered, n_plain = layered["n_iterations"], figures["n_iterations"]
    torch.testing.assert_close(layers[-1], est)
    torch.testing.assert_close(n_layered, n_plain)
    assert len(set(n_plain.tolist())) > 1
    n_layered.sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in model.masker.gates.parameters())


def test_a_stages_layers_end_with_its_block(tmp_path):
    _, model = refiners(own_heads=True)
    wav = torch.randn(2, 400, dtype=torch.float64)
    assert model.n_layers == 3
    for stage, n_layers in ((1, 2), (2, 3)):
        model.train_stage(stage)
        assert model.n_layers == n_layers
        model.zero_grad()
        layers = model(wav)
        assert len(layers) == n_layers
        layers.square().sum().backward()
        assert all((p.grad is not None) == p.requires_grad for p in model.parameters())
    model.train_stage(1)
    save_model(model, tmp_path / "m.pth")
    assert BaseModel.from_pretrained(str(tmp_path / "m.pth")).n_blocks == 1


def test_heads_of_layers_and_heads_of_blocks_exclude_each_other():
    model = MAKE["refiner"](own_heads=True)
    with pytest.raises(StabError, match="head must be 'shared' for a model with own_heads, .*, got 'dedicated'"):
        layered_model(model, "dedicated")
    assert type(model) is LatentRefinementNet
    _, dedicated = refiners("dedicated")
    assert set(dedicated.layer_heads[0]) == {"mask_net", "decoder"}
    with pytest.raises(StabError, match="the dedicated heads are of 3 layers, got 4"):
        dedicated(torch.randn(2, 400, dtype=torch.float64), n_iterations=2)


def test_a_kind_without_masks_cannot_be_built():
    class Headless(LayeredModel, ConvTasNet):
        def layers(self, tf_rep):
            return iter([tf_rep])

    with pytest.raises(TypeError, match=r"abstract class Headless .*masks"):
        Headless(2)
