"""Which microphones a model sees, and the reference among them."""

import pytest
import torch
from asteroid.models import BaseModel
from torch import nn

from asteroid_stab.errors import StabError, within
from asteroid_stab.microphones import MicChoice, check_mics, check_same, check_single, check_takes, n_mics_of, noise_for
from asteroid_stab.models import hosted


def model_of(n_mics):
    return hosted(
        nn.Conv1d, {"in_channels": n_mics or 1, "out_channels": 2, "kernel_size": 1}, n_src=2, sample_rate=8000,
        inputs="channel_time", n_mics=n_mics,
    )  # fmt: skip


def test_the_reference_comes_first_and_the_others_keep_their_order():
    assert check_mics(None, 2).channels(4) == (2, 0, 1, 3)
    assert check_mics([3, 0, 2], 0).channels(4) == (0, 3, 2)
    assert check_mics([3, 0, 2], None).channels(4) == (3, 0, 2)
    assert check_mics([1], None).channels(2) == (1,)
    assert MicChoice().channels(1) == (0,)


@pytest.mark.parametrize("mics", [[], [0, 0], [-1], [True], ["a"], "01", 0.5])
def test_microphones_that_are_none(mics):
    with pytest.raises(ValueError, match="mics must be a list of different channels from 0, or null for all, got "):
        check_mics(mics, None)


def test_a_reference_that_is_none():
    with pytest.raises(ValueError, match=r"ref_mic must be one of mics=\[0, 2\], or null for the first, got 1"):
        check_mics([0, 2], 1)
    with pytest.raises(ValueError, match="ref_mic must be a channel from 0, or null for the first, got -1"):
        check_mics(None, -1)


def test_channels_that_the_files_lack():
    with pytest.raises(StabError, match="^data.mics must be of the 2 channels of the mixtures, from 0 to 1, got 4$"):  # noqa: SIM117
        with within("data"):
            check_mics([0, 4], None).channels(2)
    with pytest.raises(StabError, match="^ref_mic must be of the 1 channels of the mixtures, from 0 to 0, got 3$"):
        check_mics(None, 3).channels(1)


def test_what_a_model_takes():
    assert [n_mics_of(model_of(n)) for n in (1, 4, None)] == [1, 4, None]
    for n_mics, got in ((1, 1), (4, 4), (None, 1), (None, 7)):
        check_takes(model_of(n_mics), got)
    check_takes(nn.Conv1d(256, 2, 1), 3)  # a plain module's in_channels are of features
    for n_mics, got, message in (
        (1, 2, r"HostedModel takes 1 microphone, and the mixtures have 2: set data.mics=\[0\], which takes the first"),
        (4, 1, "HostedModel takes 4 microphones, and the mixtures have 1: set model.n_mics=1$"),
        (2, 6, "takes 2 microphones, and the mixtures have 6: set model.n_mics=6, or data.mics to 2 of them"),
    ):
        with pytest.raises(StabError, match=message):
            check_takes(model_of(n_mics), got)


def test_what_works_on_one_microphone_refuses_a_model_for_several():
    for n_mics in (1, None):
        check_single(model_of(n_mics), "the demo")
    with pytest.raises(StabError, match="the demo is of one microphone, and HostedModel takes 3"):
        check_single(model_of(3), "the demo")


def test_sets_of_different_numbers():
    with pytest.raises(StabError, match=r"as many microphones, got train 2, valid 1: mics=\[0\] takes one"):
        check_same({"train": 2, "valid": 1})


def test_noise_has_the_shape_of_the_mixtures():
    class Plain(BaseModel):
        def __init__(self):
            super().__init__(8000)

    shapes = [[*noise_for(model, 9, n).shape] for model in (Plain(), model_of(3), model_of(None)) for n in (None, 4)]
    assert shapes == [[9], [4, 9], [3, 9], [4, 3, 9], [2, 9], [4, 2, 9]]
    assert torch.equal(noise_for(nn.Identity(), 9, 4), noise_for(Plain(), 9, 4))
