"""MAMA: the policy's statistics, what is altered, and where the loss looks."""

import numpy as np
import pytest
import torch

from asteroid_stab.errors import StabError
from asteroid_stab.models import conv_tasnet, dprnn_tasnet, dptnet, sudormrf
from asteroid_stab.pretext import MaskedReconstruction


def generators(n, seed=0):
    return [np.random.default_rng((seed, i)) for i in range(n)]


def runs(mask):
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return edges[1::2] - edges[::2]


def test_the_policy_over_a_hundred_thousand_frames():
    task = MaskedReconstruction()
    drawn = [task.draw(300, generator) for generator in generators(400)]
    share = np.mean([a.frames.mean() for a in drawn])
    # 6 runs of 7 in 300 frames, which may overlap: 300 * (1 - (1 - 7/294)^6) are masked.
    assert share == pytest.approx(1 - (1 - 7 / 294) ** 6, abs=0.004)
    lengths = np.concatenate([runs(a.frames) for a in drawn])
    assert lengths.min() >= 7
    assert np.mean(lengths == 7) > 0.7
    actions = [a.action for a in drawn]
    for action, wanted in (("zero", 0.8), ("replace", 0.1), ("keep", 0.1)):
        assert actions.count(action) / 400 == pytest.approx(wanted, abs=3 * np.sqrt(wanted * (1 - wanted) / 400))
    widths = np.array([a.band[1] - a.band[0] for a in drawn])
    assert widths.min() >= 0
    assert widths.max() == 25  # a fifth of 129 bands
    assert widths.mean() == pytest.approx(12.5, abs=1.2)
    assert np.mean([a.noisy for a in drawn]) == pytest.approx(0.15, abs=0.055)


def test_something_is_always_masked():
    """10 frames are too few for a run of 7 at 15%: the band is drawn until it has a width."""
    task = MaskedReconstruction()
    drawn = [task.draw(10, generator) for generator in generators(200)]
    assert all(a.frames.any() or a.band[1] > a.band[0] for a in drawn)
    with pytest.raises(StabError, match="at least 7 frames to be masked, got 6"):
        task.draw(6, np.random.default_rng(0))


def one(task, action="zero", frames=(), band=(0, 0), noisy=False, shift=5):
    """A task whose draw is given."""
    from asteroid_stab.pretext.masked_reconstruction import Alteration

    def draw(n_frames, generator):
        mask = np.zeros(n_frames, bool)
        mask[list(frames)] = True
        return Alteration(mask, action, shift, band, noisy)

    task.draw = draw
    return task


@pytest.mark.parametrize("arguments", [{"band_share": 0.0}, {"share": 0.02, "band_share": 0.005}])
def test_what_could_never_mask_is_told(arguments):
    with pytest.raises(StabError, match=r"of 40 frames is no run of span=7 .* nothing would ever be masked"):
        MaskedReconstruction(**arguments).draw(40, np.random.default_rng(0))


def test_spans_are_zeroed_replaced_or_kept():
    torch.manual_seed(0)
    mixture = torch.randn(2, 8000)
    span = range(40, 60)
    for action in ("zero", "replace", "keep"):
        task = one(MaskedReconstruction(floor_level=0.0), action, span)
        signal, masked, _ = task.alter(mixture, generators(2))
        assert masked.shape == (2, 129, 101)
        assert torch.equal(masked.any(1).nonzero()[:, 1].unique(), torch.tensor(list(span)))
        outside = torch.cat([signal[:, : 38 * 80], signal[:, 62 * 80 :]], 1)
        torch.testing.assert_close(
            outside, torch.cat([mixture[:, : 38 * 80], mixture[:, 62 * 80 :]], 1), atol=1e-5, rtol=0
        )
        inside = signal[:, 43 * 80 : 57 * 80]
        if action == "zero":
            assert inside.abs().max() < 1e-5
        elif action == "replace":  # of frames 5 earlier
            torch.testing.assert_close(inside, mixture[:, 38 * 80 : 52 * 80], atol=1e-4, rtol=0)
        else:
            torch.testing.assert_close(inside, mixture[:, 43 * 80 : 57 * 80], atol=1e-5, rtol=0)


def test_a_band_is_taken_out_and_noise_added():
    time = torch.arange(8000) / 8000
    low, high = torch.sin(2 * torch.pi * 500 * time), torch.sin(2 * torch.pi * 2000 * time)
    task = one(MaskedReconstruction(floor_level=0.0), band=(60, 70))  # 1875 to 2187 Hz
    signal, masked, _ = task.alter((low + high).unsqueeze(0), generators(1))
    torch.testing.assert_close(signal[0, 500:-500], low[500:-500], atol=0.02, rtol=0)
    assert masked.float().mean().item() == pytest.approx(10 / 129)
    mixture = torch.randn(1, 8000)
    floor = one(MaskedReconstruction(), frames=range(40, 60)).alter(mixture, generators(1))[0]
    assert floor[:, 43 * 80 : 57 * 80].std().item() == pytest.approx(0.2 * mixture.std().item(), rel=0.1)
    noisy = one(MaskedReconstruction(), frames=[1], action="keep", noisy=True).alter(mixture, generators(1))[0]
    assert (noisy - mixture).std().item() == pytest.approx(0.2 * mixture.std().item(), rel=0.05)


@pytest.mark.parametrize("kind", ["si_sdr", "l1"])
def test_the_loss_looks_at_what_is_masked_alone_and_not_at_the_level(kind):
    torch.manual_seed(0)
    speech = torch.randn(1, 1, 8000)
    task = one(MaskedReconstruction(loss=kind), frames=range(40, 60))

    def loss(error, scale=1.0):
        return task(lambda x: scale * (speech + error), scale * speech[:, 0], scale * speech, generators(1))

    far, near = torch.zeros_like(speech), torch.zeros_like(speech)
    far[..., :2000], near[..., 4000:4200] = 1.0, 1.0
    assert loss(far).item() < (-60 if kind == "si_sdr" else 1e-6)
    assert loss(near).item() > loss(far).item() + 0.01
    torch.testing.assert_close(loss(near, scale=7.0), loss(near), rtol=1e-3, atol=1e-3)
    silent = task(lambda x: speech, speech[:, 0], 0 * speech, generators(1))
    assert not torch.isfinite(silent).any()
    if kind == "l1":  # the mean over the masked cells, written out
        window = torch.hann_window(256)
        spectra = [torch.stft(x[:, 0], 256, 80, window=window, return_complex=True) for x in (speech, near)]
        wanted = spectra[1][..., 40:60].abs().mean() / spectra[0].abs().mean()
        torch.testing.assert_close(loss(near)[0], wanted)


def test_gradients_reach_the_encoder():
    model = conv_tasnet(1, n_filters=16, n_blocks=2, n_repeats=1, bn_chan=8, hid_chan=8, skip_chan=8)
    sources = torch.randn(2, 1, 4000)
    MaskedReconstruction()(model, sources[:, 0], sources, generators(2)).mean().backward()
    assert all(p.grad.abs().sum() > 0 for p in model.encoder.parameters())


@pytest.mark.parametrize(
    "model",
    [
        lambda: dprnn_tasnet(1, n_filters=16, bn_chan=8, hid_size=8, chunk_size=20, n_repeats=1),
        lambda: dptnet(1, n_filters=16, n_heads=2, ff_hid=8, chunk_size=20, n_repeats=1),
        lambda: sudormrf(1, n_filters=16, bn_chan=8, num_blocks=1, upsampling_depth=2),
    ],
    ids=["dprnn", "dptnet", "sudormrf"],
)
def test_it_trains_the_encoder_of_any_separator(model):
    made = model()
    generators = [np.random.default_rng(i) for i in range(2)]
    loss = MaskedReconstruction(n_fft=64, hop=16)(made, torch.randn(2, 1600), torch.randn(2, 1, 1600), generators)
    assert torch.isfinite(loss).all()
    loss.mean().backward()
    assert sum(p.grad.abs().sum() for p in made.encoder.parameters() if p.grad is not None) > 0


def test_it_can_be_learnt():
    torch.manual_seed(0)
    model = conv_tasnet(
        1, n_filters=32, n_blocks=4, n_repeats=1, bn_chan=16, hid_chan=32, skip_chan=16, mask_act="relu"
    )
    time = torch.arange(4000) / 8000
    sources = torch.stack([torch.sin(2 * torch.pi * pitch * time) for pitch in (200.0, 300.0, 450.0)]).unsqueeze(1)
    optimizer, task, losses = torch.optim.Adam(model.parameters(), lr=3e-3), MaskedReconstruction(), []
    for _ in range(60):
        optimizer.zero_grad()
        loss = task(model, sources[:, 0], sources, generators(3)).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 3  # dB


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"share": 1.5}, "share must be from 0 to 1, got 1.5"),
        ({"zero_prob": 0.95}, r"zero_prob \+ replace_prob must be from 0 to 1, got 1.05"),
        ({"share": 0.0, "band_share": 0.0}, "nothing would be masked"),
        ({"loss": "l2"}, "loss must be one of si_sdr, l1, got 'l2'"),
        ({"floor_level": -1.0}, "floor_level must be at least 0, got 0.2 and -1"),
        ({"hop": 200}, "hop from 1 to half of n_fft, got 7, 200 and 256"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(StabError, match=message):
        MaskedReconstruction(**arguments)
