"""What is found in a folder of speech or noise."""

import shutil

import numpy as np
import pytest
import soundfile as sf

from asteroid_stab.data.lists.speech_folder import Utterance, find_noise, find_speech
from asteroid_stab.errors import StabError


def test_speech_is_sorted_whatever_the_disk_gives(speech, monkeypatch):
    found = find_speech(speech, ["train-clean-100"])
    assert len(found) == 18
    assert [u.name for u in found] == sorted(u.name for u in found)
    name = "train-clean-100/100/7/100-7-0000.flac"
    assert found[0] == Utterance(name, "100", sf.info(speech / name).frames)
    from asteroid_stab.data.lists import speech_folder

    walk = speech_folder.os.walk
    monkeypatch.setattr(speech_folder.os, "walk", lambda *a, **k: reversed(list(walk(*a, **k))))
    assert find_speech(speech, ["train-clean-100"]) == found


def test_wav_other_depths_and_several_subsets(tmp_path, make_speech):
    make_speech(tmp_path, 2, 1, subset="a", suffix="wav")
    make_speech(tmp_path, 2, 1, subset="b")
    shutil.copytree(tmp_path / "b/100/7", tmp_path / "b/999")
    (tmp_path / "b/100/7/100-7.trans.txt").write_text("not audio")
    found = find_speech(tmp_path, ["a", "b", "b"])
    assert [u.name.split("/")[0] for u in found] == ["a", "a", "b", "b", "b"]
    assert [u.speaker for u in found] == ["100", "101", "100", "101", "999"]


def test_noise_may_have_two_channels_and_a_subset(noise):
    found = find_noise(noise)
    assert [(u.name, u.n_frames) for u in found] == [("tt/n0.wav", 9_000), ("tt/n1.wav", 17_000), ("tt/n2.wav", 40_000)]
    assert find_noise(noise, "tt") == found


def test_faults_of_a_folder(tmp_path, speech, noise):
    with pytest.raises(StabError, match="no speech corpus at .*nowhere"):
        find_speech(tmp_path / "nowhere", ["a"])
    with pytest.raises(StabError, match=r"no subset 'train-clean-10' \(did you mean 'train-clean-100'\?\); it has"):
        find_speech(speech, ["train-clean-10"])
    with pytest.raises(StabError, match=r"a subset of .* must be the name of a folder, got 'a/b'"):
        find_speech(speech, ["a/b"])
    with pytest.raises(StabError, match="no noise corpus at .*nowhere"):
        find_noise(tmp_path / "nowhere")
    with pytest.raises(StabError, match="no subset of noise at .*tr"):
        find_noise(noise, "tr")
    (tmp_path / "empty").mkdir()
    for find in (lambda: find_speech(tmp_path, ["empty"]), lambda: find_noise(tmp_path, "empty")):
        with pytest.raises(StabError, match=r"empty must hold \.flac or \.wav files, got none"):
            find()


def test_audio_that_cannot_be_used_is_named(tmp_path):
    sf.write(tmp_path / "loose.wav", np.zeros(10), 16_000)
    (tmp_path / "a").mkdir()
    sf.write(tmp_path / "a/loose.wav", np.zeros(10), 16_000)
    with pytest.raises(StabError, match=r"must stand in subset/speaker/, got .*loose\.wav"):
        find_speech(tmp_path, ["a"])
    (tmp_path / "b/1").mkdir(parents=True)
    sf.write(tmp_path / "b/1/x.wav", np.zeros(10), 22_050)
    with pytest.raises(StabError, match=r"x\.wav must be sampled at 16000 Hz, got 22050 Hz"):
        find_speech(tmp_path, ["b"])
    sf.write(tmp_path / "b/1/x.wav", np.zeros((10, 2)), 16_000)
    with pytest.raises(StabError, match=r"x\.wav must have 1 channel, got 2"):
        find_speech(tmp_path, ["b"])
    (tmp_path / "b/1/x.wav").unlink()
    (tmp_path / "b/1/y.flac").symlink_to("gone.flac")
    with pytest.raises(StabError, match=r"y\.flac is a link to a file that is missing"):
        find_speech(tmp_path, ["b"])
