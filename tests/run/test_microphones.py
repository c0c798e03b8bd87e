"""Microphones that a training took."""

import numpy as np
import pytest
import soundfile

from asteroid_stab.microphones import MicChoice
from asteroid_stab.run.microphones import channels_in, chosen_microphones


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"mics": [2, 0]}, MicChoice([2, 0])),
        ({"ref_mic": 1}, MicChoice(None, 1)),
        ({"mics": None, "ref_mic": None}, None),
        ({"mics": ["x"]}, None),
        (None, None),
    ],
)
def test_the_config_chooses(data, found):
    assert chosen_microphones({"data": data}) == found


def test_a_file_has_them_or_is_taken_as_it_is(tmp_path):
    for n in (1, 2, 4):
        soundfile.write(tmp_path / f"{n}.wav", np.zeros((10, n)), 8000)
    (tmp_path / "0.wav").write_text("no sound")
    heard = MicChoice([3, 1], ref_mic=1)
    assert [channels_in(tmp_path / f"{n}.wav", heard) for n in (0, 1, 2, 4, 5)] == [None, None, None, (1, 3), None]
    assert channels_in(tmp_path / "4.wav", None) is None
