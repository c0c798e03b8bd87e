"""Model files: what is saved is what is loaded, in plain Asteroid too, and what is no model file says so."""

import pytest
import torch
from asteroid.models import BaseModel, ConvTasNet

from asteroid_stab.errors import StabError
from asteroid_stab.models import build_model, conv_tasnet, load_model, save_model


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


def test_only_plain_values_are_saved(tmp_path, tiny_model):
    with pytest.raises(TypeError, match="plain types only, got set"):
        save_model(tiny_model(), tmp_path / "m.pth", {"bad": {1, 2}})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("model_args"), "lacks model_args"),
        (lambda c: c.update(model_name="ConvTasNett"), r"'ConvTasNett', which is no known model \(did you mean 'ConvT"),
        (lambda c: c["model_args"].update(bn_chan=12), r"not those of a ConvTasNet: [\s\S]*size mismatch"),
        (lambda c: c["model_args"].pop("n_src"), "not those of a ConvTasNet: .*n_src"),
    ],
)
def test_a_file_of_something_else_is_named(saved, change, message):
    conf = torch.load(saved[0] / "best_model.pth", weights_only=True)
    change(conf)
    with pytest.raises(StabError, match=message):
        build_model(conf, "some.pth")


def test_a_training_checkpoint_is_told_apart():
    with pytest.raises(StabError, match=r"lacks model_name.*training checkpoint, its model is RUN.best_model\.pth"):
        build_model({"state_dict": {}, "loops": {}}, "last.ckpt")


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
