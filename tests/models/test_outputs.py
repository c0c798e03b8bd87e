"""Models with fewer outputs."""

import own_nets
import pytest
import torch

from asteroid_stab.errors import StabError
from asteroid_stab.models import (
    LatentRefinementNet,
    conv_tasnet,
    dprnn_tasnet,
    dptnet,
    hosted,
    layered_model,
    load_model,
    save_model,
    sudormrf,
)
from asteroid_stab.models.outputs import keep_outputs

SMALL = {
    conv_tasnet: {"n_filters": 16, "n_blocks": 2, "n_repeats": 2, "bn_chan": 4, "hid_chan": 8, "skip_chan": 4},
    dprnn_tasnet: {"n_filters": 16, "bn_chan": 8, "hid_size": 8, "chunk_size": 20, "n_repeats": 2},
    dptnet: {"n_filters": 16, "n_heads": 2, "ff_hid": 8, "chunk_size": 20, "n_repeats": 2},
    sudormrf: {"n_filters": 16, "bn_chan": 8, "num_blocks": 2, "upsampling_depth": 2},
}


@pytest.mark.parametrize("make", SMALL)
@pytest.mark.parametrize("layers", [False, True])
def test_what_is_kept_is_not_changed(make, layers, tmp_path):
    torch.manual_seed(0)
    model = make(4, **SMALL[make])
    model = layered_model(model, "dedicated") if layers else model
    mixture = torch.randn(2, 1600)
    with torch.no_grad():
        whole = model.eval()(mixture)
        kept = keep_outputs(model, [0, 2])
        torch.testing.assert_close(kept(mixture), whole[:, [0, 2]], rtol=0, atol=1e-6)
        save_model(kept, tmp_path / "m.pth")
        assert load_model(tmp_path / "m.pth")(mixture).shape == (2, 2, 1600)
    assert model(mixture).shape == (2, 4, 1600)


def test_a_hosted_model_keeps_outputs_of_its_own(tmp_path):
    model = hosted(own_nets.TinyMask, {"n_speakers": 3}, n_src=3, sample_rate=8000)
    mixture = torch.randn(2, 800)
    kept = keep_outputs(keep_outputs(model, [2, 0]), [1, 0])
    assert torch.equal(kept(mixture), model.eval()(mixture)[:, [0, 2]])
    save_model(kept, tmp_path / "m.pth")
    assert torch.equal(load_model(tmp_path / "m.pth", trust=["own_nets"])(mixture), kept(mixture))
    with pytest.raises(StabError, match="the model has outputs 0 to 1, got 2"):
        keep_outputs(kept, [2])


def test_it_draws_nothing_that_a_training_would_feel(tiny_model):
    model = tiny_model(3)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    keep_outputs(model, [1])
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("args", "outputs", "message"),
    [({}, [0, 3], "outputs 0 to 2, got 3"), ({"mask_act": "softmax"}, [0], "mask_act=softmax makes each mask depend")],
)
def test_what_cannot_be_kept_is_refused(args, outputs, message):
    with pytest.raises(StabError, match=message):
        keep_outputs(conv_tasnet(3, **SMALL[conv_tasnet], **args), outputs)


def test_a_model_without_a_known_output_layer_is_refused():
    from asteroid.models import DeMask

    with pytest.raises(StabError, match=r"DeMask has no output layer masker.mask_net.1"):
        keep_outputs(DeMask(), [0])


def test_a_decoder_that_mixes_cannot_be_cut():
    model = LatentRefinementNet(2, n_filters=16, bn_chan=8, upsampling_depth=2)
    with pytest.raises(StabError, match="LatentRefinementNet mixes what it separates in its decoder"):
        keep_outputs(model, [0])
