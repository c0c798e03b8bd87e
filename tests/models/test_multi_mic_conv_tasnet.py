"""ConvTasNet with several microphones: masks on the reference, spatial features beside it."""

import pytest
import torch

from asteroid_stab.errors import StabError
from asteroid_stab.models import MultiMicConvTasNet, layered_model, load_model, save_model
from asteroid_stab.models.outputs import keep_outputs

SIZE = {"n_filters": 16, "n_spatial": 6, "n_blocks": 2, "n_repeats": 2, "bn_chan": 4, "hid_chan": 8, "skip_chan": 4}


def make(n_src=3, n_mics=4, seed=0, **kwargs):
    torch.manual_seed(seed)
    return MultiMicConvTasNet(n_src, n_mics, **{**SIZE, **kwargs})


@pytest.mark.parametrize("activation", [None, "relu"])
def test_masks_are_of_the_reference_and_features_of_all(activation):
    model, mixture = make(encoder_activation=activation), torch.randn(2, 4, 803)
    code = model.encoder(mixture[:, :1])
    code = code.relu() if activation else code
    spatial = sum(
        torch.nn.functional.conv1d(mixture[:, mic : mic + 1], model.spatial.weight[:, mic : mic + 1], stride=8)
        for mic in range(4)
    )
    masks = model.masker(torch.cat([code, spatial], 1))
    assert masks.shape == (2, 3, 16, code.shape[-1])
    wanted = model.decoder(masks * code.unsqueeze(1))
    est = model(mixture)
    assert est.shape == (2, 3, 803)
    torch.testing.assert_close(est[..., : wanted.shape[-1]], wanted)


def test_every_microphone_is_heard_and_every_parameter_trained():
    model, mixture = make(), torch.randn(2, 4, 800)
    est = model(mixture)
    est.square().mean().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    for mic in range(4):
        other = mixture.clone()
        other[:, mic] += torch.randn(2, 800)
        assert not torch.allclose(model(other), est)


@pytest.mark.parametrize("skip_chan", [4, 0])
def test_its_file_and_its_layers(tmp_path, skip_chan):
    model, mixture = make(skip_chan=skip_chan, mask_act="relu"), torch.randn(2, 4, 800)
    plain = model.eval()(mixture)
    layered = layered_model(model).train()
    est = layered(mixture)
    assert est.shape == (2, 2, 3, 800)
    torch.testing.assert_close(est[-1], plain)
    save_model(layered, tmp_path / "model.pth")
    again = load_model(tmp_path / "model.pth")
    assert type(again) is MultiMicConvTasNet
    assert again.in_channels == 4
    torch.testing.assert_close(again(mixture), plain)
    torch.testing.assert_close(keep_outputs(again, [2, 0])(mixture), plain[:, [2, 0]])


@pytest.mark.parametrize("n_mics", [1, 0, True, 2.5])
def test_one_microphone_is_for_another_model(n_mics):
    with pytest.raises(StabError, match="n_mics must be a whole number of at least 2, got .*model=convtasnet$"):
        make(n_mics=n_mics)


@pytest.mark.parametrize("shape", [(2, 3, 800), (2, 800), (4, 800)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(StabError, match=r"the model takes mixtures \[B, 4, T\], got \["):
        make()(torch.randn(shape))
