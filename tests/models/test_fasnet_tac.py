"""FasNet-TAC: the host's estimates for any number of microphones, in any order after the reference."""

import inspect

import pytest
import torch
from asteroid.models import FasNetTAC

from asteroid_stab.errors import StabError
from asteroid_stab.models import MultiMicFasNetTAC, layered_model, load_model, load_pretrained, save_model
from asteroid_stab.models.outputs import keep_outputs
from asteroid_stab.run.compose import compose_recipe

SIZE = {"enc_dim": 4, "feature_dim": 4, "hidden_dim": 4, "n_layers": 2, "tac_hidden_dim": 6}


def make(n_src=2, seed=0, **kwargs):
    torch.manual_seed(seed)
    return MultiMicFasNetTAC(n_src, **{**SIZE, **kwargs})


def test_it_is_the_hosts_model():
    torch.manual_seed(0)
    theirs, mixture = FasNetTAC(2, sample_rate=8000, **SIZE), torch.randn(2, 3, 403)
    torch.testing.assert_close(make()(mixture), theirs(mixture), rtol=1e-4, atol=1e-4)
    host = inspect.signature(FasNetTAC).parameters
    config = compose_recipe("baseline/toy", ["model=fasnet_tac"]).model
    for name, parameter in inspect.signature(MultiMicFasNetTAC).parameters.items():
        if name not in ("n_src", "sample_rate"):
            assert parameter.default == host[name].default == config[name], name


def test_any_number_of_microphones_in_any_order_after_the_reference():
    model = make().eval()
    one, mixture = torch.randn(2, 400), torch.randn(2, 4, 400)
    assert torch.equal(model(one), model(one.unsqueeze(1)))
    est = model(mixture)
    torch.testing.assert_close(model(mixture[:, [0, 3, 1, 2]]), est)
    assert not torch.allclose(model(mixture[:, [1, 0, 2, 3]]), est)
    padded = model(torch.cat([mixture[:, :2], torch.zeros(2, 1, 400)], 1), torch.tensor([2, 2]))
    torch.testing.assert_close(padded, model(mixture[:, :2]))


def test_its_file_and_its_outputs(tmp_path):
    model, mixture = make(n_src=3).eval(), torch.randn(2, 2, 400)
    save_model(model, tmp_path / "model.pth")
    again = load_model(tmp_path / "model.pth")
    assert type(again) is MultiMicFasNetTAC
    assert again.get_model_args() == model.get_model_args()
    assert torch.equal(again(mixture), model(mixture))
    torch.testing.assert_close(keep_outputs(model, [2, 0])(mixture), model(mixture)[:, [2, 0]])
    transfer = load_pretrained(make(n_src=2, seed=1), str(tmp_path / "model.pth"), new_output=True)
    assert transfer.new == ["conv_2D.1.weight", "conv_2D.1.bias"]


def test_layers_and_other_shapes_are_refused():
    with pytest.raises(StabError, match="layers are known of ConvTasNet, .* got MultiMicFasNetTAC; another net has"):
        layered_model(make())
    with pytest.raises(StabError, match=r"the model takes mixtures \[B, C, T\] or \[B, T\], got \[400\]"):
        make()(torch.randn(400))
