"""Hosted models: any net with the interface and the files of an Asteroid model, and built only where it is trusted."""

import copy

import own_nets
import pytest
import torch
from asteroid.models import BaseModel
from torch import nn

from asteroid_stab.errors import StabError
from asteroid_stab.models import (
    HostedModel,
    build_model,
    hosted,
    load_model,
    load_pretrained,
    save_model,
)
from asteroid_stab.trust import trust, trusting

NORM = {"_target_": "torch.nn.GroupNorm", "num_groups": 2, "num_channels": 8}
GIVE = {"_target_": "own_nets.two_of", "_partial_": True, "gain": 0.5}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))  # nothing is trusted


def tiny(n_src=2, **args):
    torch.manual_seed(0)
    return hosted(
        own_nets.TinyMask,
        {"n_speakers": n_src, **args},
        n_src=n_src,
        sample_rate=8000,
        output_layers=["mask"],
    )


@pytest.fixture
def saved(tmp_path):
    model = tiny(3, norm=NORM).eval()
    save_model(model, tmp_path / "best_model.pth", {"score": 1.5})
    return tmp_path / "best_model.pth", model


def test_the_nets_estimates_have_the_mixtures_length():
    model = tiny(3).eval()
    mixture = torch.randn(2, 803)
    raw = model.net(mixture)
    assert raw.shape == (2, 3, 800)
    est = model(mixture)
    assert est.shape == (2, 3, 803)
    assert torch.equal(est[..., :800], raw)
    assert not est[..., 800:].any()
    assert torch.equal(model(mixture.unsqueeze(1)), est)
    torch.testing.assert_close(model(mixture[0]), est[0])  # another batch may round in another way
    with pytest.raises(ValueError, match=r"takes \[B, T\], \[B, 1, T\] or \[T\], got \[2, 2, 80\]"):
        model(torch.randn(2, 2, 80))


def test_what_the_net_takes():
    class Takes(nn.Module):
        """Keeps what it was given."""

        def forward(self, *given):
            self.given = given
            return given[0].reshape(2, 1, -1)

    model = hosted(nn.Identity, n_src=1, sample_rate=8000)
    model.net, mixture = Takes(), torch.randn(2, 80)
    for inputs, shapes in {
        "time": [(2, 80)],
        "channel_time": [(2, 1, 80)],
        "time_lengths": [(2, 80), (2,)],
    }.items():
        model.inputs = inputs
        assert model(mixture).shape == (2, 1, 80)
        assert [tuple(one.shape) for one in model.net.given] == shapes
    assert model.net.given[1].tolist() == [80, 80]


def test_a_file_is_read_where_its_class_is_trusted(saved):
    file, model = saved
    conf = torch.load(file, weights_only=True)  # plain types only
    assert conf["model_args"]["target"] == "own_nets.TinyMask"
    assert conf["model_args"]["args"] == {"n_speakers": 3, "norm": NORM}
    assert conf["infos"]["score"] == 1.5
    mixture = torch.randn(2, 801)
    for names in (["own_nets"], ["own_nets.TinyMask"]):
        loaded = load_model(file, trust=names)
        assert type(loaded) is HostedModel
        assert isinstance(loaded.net.norm, nn.GroupNorm)
        assert not loaded.training
        assert loaded.sample_rate == 8000
        assert torch.equal(loaded(mixture), model(mixture))
        assert loaded.output_layers == ("net.mask",)
    with pytest.raises(
        StabError, match=r"best_model.pth names own_nets.TinyMask at net, which is no part .*--trust own_"
    ):
        load_model(file)
    trust(["own_nets"])
    assert torch.equal(load_model(file)(mixture), model(mixture))
    assert torch.equal(BaseModel.from_pretrained(str(file)).eval()(mixture), model(mixture))


def test_plain_asteroid_asks_too(saved):
    with pytest.raises(
        StabError, match="a hosted model names own_nets.TinyMask at net, which is no part of this package"
    ):
        BaseModel.from_pretrained(str(saved[0]))


def test_a_file_of_a_host_class_needs_no_trust(tmp_path):
    model = hosted(nn.Conv1d, {"in_channels": 1, "out_channels": 2, "kernel_size": 3}, n_src=2, sample_rate=8000,
                   inputs="channel_time")  # fmt: skip
    save_model(model, tmp_path / "a.pth")
    assert torch.equal(load_model(tmp_path / "a.pth")(torch.ones(1, 80)), model(torch.ones(1, 80)))


EVIL = ["os.system", "pandas.read_pickle", "builtins.eval", "torch.load", "torch.hub.load", "functools.partial",
        "asteroid_stab.models.save_model", "asteroid_stab.models.hosted", "pytorch_lightning.Trainer",
        "asteroid_stab.data.ToyCorpus", "evil_net.Net"]  # fmt: skip


@pytest.mark.parametrize("target", EVIL)
@pytest.mark.parametrize("place", ["target", "args", "outputs"])
def test_a_crafted_file_builds_nothing(saved, tmp_path, monkeypatch, target, place):
    (tmp_path / "evil_net.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Net: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    conf = torch.load(saved[0], weights_only=True)
    arguments = conf["model_args"]
    if place == "target":
        arguments["target"] = target
    elif place == "args":
        arguments["args"]["norm"] = [{"_target_": target, "_args_": [f"touch {tmp_path / 'ran'}"]}]
    else:
        arguments["outputs"] = {"_target_": target, "_partial_": True}
    with (
        trusting(["own_nets"]),
        pytest.raises(StabError, match=rf"'?some.pth'? names {target} at .*, which is no part of this package"),
    ):
        build_model(conf, "some.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("own_nets.no_net", "function"),
        ("own_nets.torch.nn.functional.relu", ""),
        ("own_nets.NORM", ""),
        ("os.system", ""),
    ],
)
def test_what_is_no_module_is_not_called_even_if_trusted(saved, name, kind):
    conf = torch.load(saved[0], weights_only=True)
    conf["model_args"]["target"] = name
    message = rf"{name} must be a class of torch.nn.Module, got a {kind}"
    names = ["own_nets", "own_nets.NORM", "own_nets.no_net", "own_nets.torch.nn.functional.relu", "os.system"]
    if name == "own_nets.NORM":
        message = r"names own_nets.NORM, but own_nets has no 'NORM'"
    with trusting(names), pytest.raises(StabError, match=message):
        build_model(conf, "some.pth")


def test_a_class_that_is_gone_is_named(saved):
    conf = torch.load(saved[0], weights_only=True)
    conf["model_args"]["target"] = "gone_package.Net"
    message = r"some.pth names gone_package.Net, which cannot be imported here \(ModuleNotFoundError: No module"
    with trusting(["gone_package"]), pytest.raises(StabError, match=message):
        build_model(conf, "some.pth")
    conf["model_args"]["target"] = "own_nets.Renamed"
    with (
        trusting(["own_nets"]),
        pytest.raises(StabError, match=r"some.pth names own_nets.Renamed, but own_nets has no 'Renamed'"),
    ):
        build_model(conf, "some.pth")


def test_arguments_of_a_far_larger_net_are_refused(saved):
    conf = torch.load(saved[0], weights_only=True)
    conf["model_args"]["args"]["hidden"] = 10**9
    with trusting(["own_nets"]), pytest.raises(StabError, match="far larger model than the"):
        build_model(conf, "some.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_src": 0}, "n_src must be a whole number of at least 1, got 0"),
        ({"n_src": True}, "n_src must be a whole number of at least 1, got True"),
        ({"sample_rate": 0}, "sample_rate must be a number above 0, in Hz, got 0"),
        ({"sample_rate": "8k"}, "sample_rate must be a number above 0, in Hz, got '8k'"),
        ({"inputs": "chanel_time"}, r"inputs must be one of time \(\[B, T\]\), .*got 'chanel_time' \(did you mean 'ch"),
        ({"outputs": "[B,J,T]"}, r"outputs must be one of sources_time \(\[B, J, T\]\), .*got '\[B,J,T\]'"),
        ({"outputs": {"_target_": "own_nets.two_of"}}, r"outputs must name a function as \{_target_: NAME, _par"),
        ({"output_key": 1.5}, "output_key must be a key, a position or None, got 1.5"),
        ({"n_mics": 0}, "n_mics must be a whole number of at least 1, or null for any number, got 0"),
        ({"n_mics": 2}, r"n_mics=2 needs inputs='channel_time', \[B, C, T\], got 'time'"),
        ({"n_mics": None, "inputs": "time_lengths"}, "n_mics=None needs inputs='channel_time', .*got 'time_lengths'"),
        ({"output_layers": "mask"}, "output_layers must be a list of names, got 'mask'"),
        ({"output_layers": ["masks"]}, r"layers of own_nets.TinyMask, which has no 'masks' \(did you mean 'mask'"),
        ({"args": {"hiden": 3}}, "own_nets.TinyMask cannot be built with these arguments: TypeError: .*'hiden'"),
        ({"args": {"norm": nn.Identity()}}, "args.norm must be a number, text, None, .*got a Identity: a file"),
        ({"args": {"_partial_": True}}, "own_nets.TinyMask must be built whole, got a partial"),
        ({"net": "own_nets.TinyMask"}, r"net must be a class, or \{_target_: its name, .*got own_nets.TinyMask"),
        ({"net": {"hidden": 3}}, r"net must be a class, or \{_target_"),
    ],
)  # fmt: skip
def test_arguments_are_checked(change, message):
    given = {"net": own_nets.TinyMask, "args": {}, "n_src": 2, "sample_rate": 8000, **change}
    with pytest.raises(StabError, match=message):
        hosted(**given)


def test_keep_is_checked():
    with (
        trusting(["own_nets"]),
        pytest.raises(StabError, match=r"keep must be 2 different positions from 0, got \[1, 1\]"),
    ):
        HostedModel("own_nets.TinyMask", {}, 2, 8000, keep=[1, 1])


def test_a_class_without_a_name_is_refused():
    class Here(nn.Module):
        """Of a function."""

    with pytest.raises(
        StabError, match=r"names .*<locals>.Here, (but .* has no '<locals>'|which cannot be imported here)"
    ):
        hosted(Here, n_src=2, sample_rate=8000)
    other = type("TinyMask", (nn.Module,), {"__module__": "own_nets"})
    with pytest.raises(StabError, match="own_nets.TinyMask must be importable by this name.*move it to a module"):
        hosted(other, n_src=2, sample_rate=8000)


def test_a_function_of_outputs_is_kept_by_name(tmp_path):
    model = hosted(own_nets.Flat, n_src=2, sample_rate=8000, outputs=GIVE)
    mixture = torch.randn(2, 80)
    assert torch.equal(model(mixture), torch.stack([0.5 * mixture, -mixture], 1))
    save_model(model, tmp_path / "a.pth")
    assert torch.equal(load_model(tmp_path / "a.pth", trust=["own_nets"])(mixture), model(mixture))
    with pytest.raises(StabError, match="names own_nets.two_of at outputs, which is no part"):
        load_model(tmp_path / "a.pth", trust=["own_nets.Flat"])


def test_an_asteroid_model_may_be_hosted_too(tmp_path):
    size = {"n_src": 2, "n_filters": 16, "n_blocks": 2, "n_repeats": 1, "bn_chan": 4, "hid_chan": 8, "skip_chan": 4}
    model = hosted({"_target_": "asteroid.models.ConvTasNet", **size}, n_src=2, sample_rate=8000, inputs="channel_time")
    save_model(model, tmp_path / "a.pth")
    mixture = torch.randn(2, 800)
    torch.testing.assert_close(load_model(tmp_path / "a.pth")(mixture), model.eval()(mixture))


def test_a_new_output_layer_for_another_number_of_sources(tmp_path):
    save_model(tiny(1), tmp_path / "one.pth")
    model = tiny(2)
    with pytest.raises(StabError, match=r"net.mask.weight is \[8, 8, 1\], not \[16, 8, 1\].*init.new_output=true"):
        load_pretrained(model, tmp_path / "one.pth")
    transfer = load_pretrained(model, tmp_path / "one.pth", new_output=True)
    assert transfer.new == transfer.left_out == ["net.mask.weight", "net.mask.bias"]
    model.output_layers = ()
    with pytest.raises(StabError, match=r"HostedModel has no output layer \(model=hosted: output_layers=\[NAMES\]"):
        load_pretrained(model, tmp_path / "one.pth", new_output=True)


def test_a_net_with_another_stride_is_told(tmp_path):
    save_model(tiny(stride=8), tmp_path / "a.pth")
    model = tiny(stride=8)
    model.args["stride"] = 4  # of a net whose weights have the same shapes
    with pytest.raises(StabError, match="another model's: stride is 8, not 4"):
        load_pretrained(model, tmp_path / "a.pth")


def test_a_net_is_unchanged_by_its_host():
    torch.manual_seed(0)
    net = own_nets.TinyMask()
    model = tiny()
    assert [*model.state_dict()] == [f"net.{name}" for name in net.state_dict()]
    assert all(torch.equal(model.state_dict()[f"net.{name}"], value) for name, value in net.state_dict().items())
    assert copy.deepcopy(model).get_model_args() == model.get_model_args()


def test_several_microphones(tmp_path):
    model = hosted(own_nets.AllMics, n_src=2, sample_rate=8000, inputs="channel_time", n_mics=3)
    mixture = torch.randn(4, 3, 800)
    plain = own_nets.TinyMask()
    plain.load_state_dict(model.net.state_dict())
    wanted = hosted(own_nets.TinyMask, n_src=2, sample_rate=8000)
    wanted.net = plain
    assert torch.equal(model(mixture), wanted(mixture.mean(1)))
    save_model(model, tmp_path / "model.pth")
    again = load_model(tmp_path / "model.pth", trust=["own_nets"])
    assert again.in_channels == 3
    assert torch.equal(again(mixture), model.eval()(mixture))
    for wrong in ((4, 800), (4, 2, 800), (4, 1, 800)):
        with pytest.raises(ValueError, match=r"this hosted model takes \[B, 3, T\], got \[4, "):
            model(torch.randn(wrong))
    free = hosted(own_nets.AllMics, n_src=2, sample_rate=8000, inputs="channel_time", n_mics=None)
    assert {free(torch.randn(4, *mics, 800)).shape for mics in ((), (1,), (5,))} == {(4, 2, 800)}
    with pytest.raises(ValueError, match=r"this hosted model takes \[B, C, T\], got \[4, 1, 1, 800\]"):
        free(torch.randn(4, 1, 1, 800))


def test_a_file_of_an_earlier_version_takes_one_microphone():
    with trusting(["own_nets"]):
        model = hosted(own_nets.TinyMask, n_src=2, sample_rate=8000)
        args = {name: value for name, value in model.get_model_args().items() if name != "n_mics"}
        assert HostedModel(**args).in_channels == 1
