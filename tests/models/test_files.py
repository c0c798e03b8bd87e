"""Model files: what is saved is what is loaded, in plain Asteroid too, and what is no model file says so."""

import numpy as np
import own_nets
import pytest
import torch
from asteroid.models import BaseModel, ConvTasNet

from asteroid_stab.errors import StabError
from asteroid_stab.microphones import MicChoice
from asteroid_stab.models import (
    LatentRefinementNet,
    build_model,
    conv_tasnet,
    layered_model,
    load_model,
    load_pretrained,
    save_model,
)
from asteroid_stab.models.files import microphones_of
from asteroid_stab.trust import trusting


@pytest.fixture
def saved(tmp_path, tiny_model):
    model = tiny_model(n_src=3).eval()
    save_model(model, tmp_path / "best_model.pth", {"recipe": "r", "scores": [1.0, None]})
    return tmp_path, model


def test_saved_is_loaded(saved):
    folder, model = saved
    wav = torch.randn(2, 800)
    for loaded in (load_model(folder), load_model(folder / "best_model.pth")):
        assert type(loaded) is ConvTasNet
        assert not loaded.training
        assert loaded.sample_rate == 8000
        torch.testing.assert_close(loaded(wav), model(wav), rtol=0, atol=0)
    torch.testing.assert_close(BaseModel.from_pretrained(str(folder / "best_model.pth"))(wav), model(wav))
    infos = torch.load(folder / "best_model.pth", weights_only=True)["infos"]
    assert infos["recipe"] == "r"
    assert infos["scores"] == [1.0, None]
    assert infos["software_versions"]["torch_version"] == str(torch.__version__)


def test_the_microphones_of_the_training_stay_with_a_model(tmp_path, tiny_model):
    file, copy = tmp_path / "a.pth", tmp_path / "b.pth"
    save_model(tiny_model(), file, {"recipe": "r"}, MicChoice([3, 1], 1))
    model = load_model(file)
    assert microphones_of(model) == MicChoice([3, 1], 1)
    save_model(model, copy)
    assert microphones_of(load_model(copy)) == MicChoice([3, 1], 1)
    assert type(model).from_pretrained(str(file)).sample_rate == model.sample_rate  # plain Asteroid reads it
    save_model(tiny_model(), file)
    assert microphones_of(load_model(file)) is None
    for wrong, got in (
        ("x", "by mics and ref_mic, got a str without them"),
        (torch.ones(2), "got a Tensor without them"),
        ({"mics": [1]}, "got a dict without them"),
        ({"mics": ["a"] * 999, "ref_mic": None}, "ValueError: mics must be a list of different channels.{0,150}$"),
        ({"mics": torch.ones(2), "ref_mic": None}, "ValueError: mics must be a list"),
        ({"mics": [0, 10**30], "ref_mic": None}, "got 1000"),
        ({"mics": None, "ref_mic": 1024}, "got 1024"),
    ):
        save_model(tiny_model(), file, {"microphones": wrong})
        message = rf"the microphones in '.*a.pth' must be channels from 0 to 1023.*{got}"
        with pytest.raises(StabError, match=message):
            load_model(file)


def test_an_attribute_of_a_users_model_is_no_microphones(tmp_path, tiny_model):
    model = tiny_model()
    model.microphones = 4
    save_model(model, tmp_path / "a.pth")
    assert microphones_of(model) is microphones_of(load_model(tmp_path / "a.pth")) is None


def test_only_plain_values_are_saved(tmp_path, tiny_model):
    with pytest.raises(TypeError, match="plain types only, got set"):
        save_model(tiny_model(), tmp_path / "m.pth", {"bad": {1, 2}})
    assert list(tmp_path.iterdir()) == []


def test_a_plain_module_is_no_model_file(tmp_path):
    with pytest.raises(StabError, match=r"an Asteroid model, got a Linear: asteroid_stab.models.hosted\(Linear, \{its"):
        save_model(torch.nn.Linear(1, 1), tmp_path / "m.pth")
    assert list(tmp_path.iterdir()) == []


def change_first(conf, change):
    name = next(iter(conf["state_dict"]))
    conf["state_dict"][name] = change(conf["state_dict"][name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("model_args"), "lacks model_args"),
        (lambda c: c.update(model_name="ConvTasNett"), r"'ConvTasNett', which is no known model \(did you mean 'ConvT"),
        (lambda c: c["model_args"].update(bn_chan=12), r"not those of a ConvTasNet: [\s\S]*size mismatch"),
        (lambda c: c["model_args"].pop("n_src"), "not those of a ConvTasNet: .*n_src"),
        (lambda c: c.update(model_args=[1]), "the arguments in 'some.pth' must have names"),
        (lambda c: c.update(model_args={3: 4}), "the arguments in 'some.pth' must have names"),
        (lambda c: c["model_args"].update(kernel_size="x"), "not those of a ConvTasNet: "),
        (lambda c: c["model_args"].update(n_filters=10**8), "far larger model than the"),
        (lambda c: c["model_args"].update(n_filters=10**12), "far larger model than the"),
        (lambda c: c["model_args"].update(n_repeats=10**9), "far larger model than the"),
        (
            lambda c: c["model_args"].update(sample_rate=float("nan")),
            "sample rate in 'some.pth' must be a number .*got nan",
        ),
        (lambda c: c["model_args"].update(sample_rate="8k"), "sample rate in 'some.pth' must be a number .*got 8k"),
        (lambda c: c.update(model_name=["ConvTasNet"]), "holds a 'list', which is no known model"),
        (lambda c: c.update(state_dict={}), "'some.pth' holds no weights"),
        (lambda c: c.update(state_dict=[1]), "'some.pth' holds no weights"),
        (
            lambda c: c["state_dict"].update({7: torch.zeros(1)}),
            "names of the weights in 'some.pth' must be text, got int",
        ),
        (lambda c: c["state_dict"].update(a=1.0), "holds no weights: 'a' is a float, no tensor"),
        (lambda c: change_first(c, lambda w: w.to_sparse()), "must be dense, .* is sparse"),
        (lambda c: change_first(c, lambda w: w.to("meta")), "must be dense, .* is without values"),
        (lambda c: change_first(c, lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8)), "is quantised"),
        (lambda c: change_first(c, lambda w: w.to(torch.int8)), "must be torch.float32, got torch.int8"),
        (lambda c: change_first(c, lambda w: w.to(torch.complex64)), "must be torch.float32, got torch.complex64"),
    ],
)
def test_a_file_of_something_else_is_named(saved, change, message):
    conf = torch.load(saved[0] / "best_model.pth", weights_only=True)
    change(conf)
    with pytest.raises(StabError, match=message):
        build_model(conf, "some.pth")


@pytest.mark.parametrize(
    "name", ["save_publishable", "register_model", "get", "upload_publishable", "BaseModel", "torch"]
)
def test_a_file_names_no_functions(saved, name, tmp_path):
    """``asteroid.models`` has functions beside the models; with a file's arguments one would write where it says."""
    victim = tmp_path / "thesis"
    conf = torch.load(saved[0] / "best_model.pth", weights_only=True)
    conf.update(model_name=name, model_args={"publish_dir": str(victim), "model_dict": {}})
    with pytest.raises(StabError, match=f"holds a {name!r}, which is no known model"):
        build_model(conf, "some.pth")
    assert not victim.exists()


@pytest.mark.parametrize("name", ["convtasnet", "CONVTASNET"])
def test_models_are_found_in_any_case_as_asteroid_finds_them(saved, name):
    conf = torch.load(saved[0] / "best_model.pth", weights_only=True)
    assert type(build_model({**conf, "model_name": name}, "some.pth")) is ConvTasNet


def test_files_of_plain_asteroid_are_loaded(saved, tmp_path):
    """Its ``serialize`` holds torch's version, which is no plain text, and perhaps numbers of NumPy."""
    _, model = saved
    conf = {**model.serialize(), "infos": {"score": np.float64(3.5), "epoch": np.int64(3)}}
    torch.save(conf, tmp_path / "plain.pth")
    assert type(conf["infos"].get("score")) is np.float64
    wav = torch.randn(1, 800)
    torch.testing.assert_close(load_model(tmp_path / "plain.pth")(wav), model(wav), rtol=0, atol=0)
    other = tiny(model)
    assert load_pretrained(other, tmp_path / "plain.pth").new == []
    torch.testing.assert_close(other(wav), model(wav))


def test_a_users_own_class_is_kept_by_its_dotted_name(tmp_path, tiny_model):
    """Asteroid's files name a class without its module, which another program cannot find."""
    model = tiny_model(3)
    for own, name in ((own_nets.OwnConvTasNet, "OwnConvTasNet"), (own_nets.ConvTasNet, "ConvTasNet")):
        model.__class__ = own
        save_model(model, tmp_path / "m.pth")
        conf = torch.load(tmp_path / "m.pth", weights_only=True)
        assert (conf["model_name"], conf["model_class"]) == (name, f"own_nets.{name}")
        with pytest.raises(StabError, match=f"m.pth names own_nets.{name} at model_class, which is no part .*--trust"):
            load_model(tmp_path / "m.pth")
        loaded = load_model(tmp_path / "m.pth", trust=["own_nets"])
        assert type(loaded) is own
        torch.testing.assert_close(loaded(torch.ones(1, 800)), model.eval()(torch.ones(1, 800)))
    for target in ("own_nets.no_net", "own_nets.TinyMask"):
        with (
            trusting(["own_nets"]),
            pytest.raises(StabError, match=f"'m.pth' names {target} as its model, which is"),
        ):
            build_model({**conf, "model_class": target}, "m.pth")
    with pytest.raises(StabError, match="m.pth names os.system at model_class, which is no part"):
        build_model({**conf, "model_class": "os.system"}, "m.pth")


def test_models_that_asteroid_knows_have_no_other_name(tmp_path, tiny_model):
    for model in (tiny_model(), layered_model(tiny_model()), LatentRefinementNet(2, n_filters=16, bn_chan=8)):
        save_model(model, tmp_path / "m.pth")
        assert "model_class" not in torch.load(tmp_path / "m.pth", weights_only=True)


def test_a_file_of_a_compiled_model_is_read(saved):
    """Prefixes of wrappers are cut at one place, see weight_names."""
    folder, model = saved
    conf = torch.load(folder / "best_model.pth", weights_only=True)
    conf["state_dict"] = {f"_orig_mod.{name}": value for name, value in conf["state_dict"].items()}
    assert torch.equal(build_model(conf, "some.pth")(torch.ones(1, 800)), model(torch.ones(1, 800)))


def tiny(model):
    """A model of the same arguments and other weights."""
    torch.manual_seed(99)
    return ConvTasNet(**model.get_model_args())


def test_a_training_checkpoint_is_told_apart():
    with pytest.raises(StabError, match=r"lacks model_name.*training checkpoint, its model is RUN.best_model\.pth"):
        build_model({"state_dict": {}, "loops": {}}, "last.ckpt")
    with pytest.raises(StabError, match=r"lacks model_name.*training checkpoint, .*init.path= starts a training"):
        build_model({"state_dict": {"model.a": torch.ones(1)}, "training_config": {}}, "epoch=3.ckpt")
    for weights in ({"a.weight": torch.ones(1)}, {"state_dict": {"a": torch.ones(1)}}, {"model": {"a": torch.ones(1)}}):
        with pytest.raises(StabError, match=r"no arguments of a model. init.path= .*load_pretrained\(model, FILE\)"):
            build_model(weights, "hub.pth")


def test_missing_and_damaged_files(saved):
    folder, _ = saved
    with pytest.raises(StabError, match="no model file at .*nowhere"):
        load_model(folder / "nowhere")
    file = folder / "best_model.pth"
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(StabError, match=r"best_model\.pth' is no readable model file"):
        load_model(file)
    file.write_text("no pickle at all")
    with pytest.raises(StabError, match="is no readable model file"):
        load_model(file)


@pytest.mark.parametrize("skip_chan", [8, 0])
def test_every_trained_parameter_gets_a_gradient(skip_chan):
    """DDP stops at a parameter that never gets one; and what is frozen is what has none in the host."""
    ours = conv_tasnet(2, n_filters=16, n_blocks=2, n_repeats=1, bn_chan=4, hid_chan=8, skip_chan=skip_chan)
    host = ConvTasNet(2, n_filters=16, n_blocks=2, n_repeats=1, bn_chan=4, hid_chan=8, skip_chan=skip_chan)
    for model in (ours, host):
        model(torch.randn(1, 400)).sum().backward()
    trained = {name for name, p in ours.named_parameters() if p.requires_grad}
    assert trained == {name for name, p in host.named_parameters() if p.grad is not None}
    assert all(p.grad is not None for name, p in ours.named_parameters() if name in trained)
