"""Libri1Mix on the fly: folders of speech, without lists, with noise of a folder."""

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly
from soundfile import read
from trees import librispeech, noises

from asteroid_stab.data import SpeechFolders
from asteroid_stab.data.lists.maker import hold_out
from asteroid_stab.errors import StabError
from asteroid_stab.run.check import build
from asteroid_stab.run.compose import compose_recipe

SUBSETS = ("train-clean-360", "dev-clean", "test-clean")


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return librispeech(tmp_path_factory.mktemp("LibriSpeech"), SUBSETS)


@pytest.fixture(scope="module")
def wham_noise(tmp_path_factory):
    return noises(tmp_path_factory.mktemp("wham_noise"))


@pytest.fixture
def make(tmp_path):
    """The data of the config ``data=libri1mix``, with a few words of the user's."""

    def make(root, noise, *words):
        small = ["data.n_train=20", "data.n_valid=6", "data.n_test=6", "loader.segment_s=0.5"]
        given = [f"data.base.root={root}", f"data.noise_root={noise}", f"data.cache_dir={tmp_path / 'cache'}"]
        config = compose_recipe("ssl/toy_se", ["data=libri1mix", *small, *given, *words])
        return build(config.loader, build(config.data))

    return make


def test_utterances_are_the_files_resampled(speech):
    utterances = SpeechFolders(str(speech), "train-clean-360", "dev-clean").utterances("valid")
    assert len(utterances.names) == 8
    assert utterances.names == sorted(utterances.names)
    assert utterances.speakers == [name.split("/")[1] for name in utterances.names]
    whole = resample_poly(read(speech / utterances.names[3], dtype="float32")[0], 1, 2)
    assert utterances.lengths[3] == len(whole)
    assert np.array_equal(utterances.read(3, 500, 2500), whole[500:2500])


def test_speakers_are_held_out_as_prepare_does(speech):
    data = SpeechFolders(str(speech), "train-clean-360", None, "test-clean", valid_speakers=2, corpus_seed=3)
    speakers = {split: set(data.utterances(split).speakers) for split in ("train", "valid", "test")}
    assert speakers["valid"] == hold_out(sorted(speakers["train"] | speakers["valid"]), 2, 3)
    assert [len(speakers[split]) for split in speakers] == [2, 2, 4]
    assert not speakers["train"] & speakers["valid"]


@pytest.mark.parametrize("folders", ["wham", "esc"])
def test_libri1mix_on_the_fly(make, speech, wham_noise, esc, folders):
    data = make(speech, wham_noise if folders == "wham" else esc)
    data.prepare_data()
    data.setup("fit")
    mixture, sources, _ = next(iter(data.train_dataloader()))
    assert mixture.shape == (4, 4000)
    assert sources.shape == (4, 1, 4000)
    noise = mixture - sources.sum(1)
    snr = 10 * torch.log10(sources[:, 0].pow(2).mean(1) / noise.pow(2).mean(1))
    assert ((snr > -1e-3) & (snr < 10 + 1e-3)).all()
    used = {split: {s.name for s in data.corpus.sounds(split).sounds} for split in ("train", "valid", "test")}
    assert not used["train"] & used["valid"] | used["valid"] & used["test"] | used["train"] & used["test"]
    if folders == "wham":  # its own split, without a word of the user's
        assert {name for name in used["valid"] if name[-4:] == ".wav"} == {f"cv/cv{i}.wav" for i in range(3)}
    again = make(speech, wham_noise if folders == "wham" else esc, "loader.num_workers=1")
    again.setup("fit")
    assert next(iter(again.train_dataloader()))[0].equal(mixture)


def test_folders_of_noise_that_are_named_come_first(make, speech, wham_noise, tmp_path):
    noises(tmp_path / "n", ("tr", "cv", "tt", "loud"))
    data = make(speech, tmp_path / "n", "data.noise_subsets=[loud,cv,tt]")
    assert {sound.name.split("/")[0] for sound in data.corpus.found("train")} == {"loud"}


def test_real_speech_and_sounds(make, shared_data):
    mini = ["data.base.train_subset=train-clean-100", "data.base.valid_subset=null", "data.base.test_subset=test-other"]
    data = make(shared_data / "LibriSpeech", shared_data / "ESC-10", *mini, "loader.segment_s=2.0")
    data.setup("fit")
    speakers = {split: set(data.corpus.base.utterances(split).speakers) for split in ("train", "valid", "test")}
    assert [len(speakers[split]) for split in speakers] == [226, 25, 5]
    mixture, sources, _ = data.train_set[(0, 3)]
    assert mixture.shape == (16_000,)
    assert torch.isfinite(mixture).all()
    assert sources.shape == (1, 16_000)
    assert len(data.test_dataset()) == 6


@pytest.mark.slow
def test_what_cannot_be_mixed_is_told(make, speech, wham_noise, tmp_path):
    silent = tmp_path / "silent"
    silent.mkdir()
    slow = librispeech(tmp_path / "slow", SUBSETS, rate=8000)
    short = noises(tmp_path / "short", seconds=0.3)
    for root, noise, words, message in (
        ("null", wham_noise, [], "^base.root is not set; set base.root=FOLDER to the folder of speech, such as Libri"),
        ("nowhere", wham_noise, [], "^base.root: there is no folder nowhere; set base.root=FOLDER to the"),
        (speech, "null", [], "^noise_root is not set; set noise_root=FOLDER to the folder of noise$"),
        (speech, silent, [], "silent must hold .wav, .flac, .ogg files, got none"),
        (speech, short, [], r"no recording of .*short for train is as long as segment_s=0.5 \(3 .* longest 0.30 s\)"),
        (slow, wham_noise, [], "must be sampled at 16000 Hz, got 8000 Hz"),
        (speech, wham_noise, ["data.base.train_subset=train-other-500"], "has no subset 'train-other-500'"),
        (speech, wham_noise, ["data.noise_subsets=[tr,dev,tt]"], "there is no folder of noise at .*dev"),
        (speech, wham_noise, ["loader.segment_s=2.0"], "no recording of speech for train is as long as segment_s=2"),
    ):
        with pytest.raises(StabError, match=message):
            make(root, noise, *words).setup("fit")
    with pytest.raises(
        StabError, match="base.valid_speakers must be less than the 4 speakers of train-clean-360, got 4"
    ):
        make(speech, wham_noise, "data.base.valid_subset=null", "data.base.valid_speakers=4").setup("fit")


def test_a_subset_is_one_however_it_is_written():
    with pytest.raises(ValueError, match="train_subset and test_subset must be different folders, both are 'a'"):
        SpeechFolders("root", train_subset="a/", test_subset="./a")
    with pytest.raises(ValueError, match="a subset must be the name of a folder, got '../a'"):
        SpeechFolders("root", train_subset="../a")
