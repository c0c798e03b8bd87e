"""Speech with noise: levels, splits, and folders that cannot be used."""

import numpy as np
import pytest
import soundfile

from asteroid_stab.data import NoisyCorpus, SpeechFolders, ToyCorpus
from asteroid_stab.errors import StabError


@pytest.fixture
def make(esc, tmp_path):
    def make(n_src=1, base=None, **kwargs):
        base = base or ToyCorpus(n_src=2, n_utterances=2)
        given = {"noise_root": str(esc), "n_train": 40, "n_valid": 10, "n_test": 10}
        return NoisyCorpus(base, **{**given, "n_src": n_src, "cache_dir": str(tmp_path / "cache"), **kwargs})

    return make


@pytest.mark.parametrize("n_src", [1, 2])
def test_the_noise_is_in_the_mixture_and_no_source(make, n_src):
    dataset = make(n_src, low_snr_db=3.0, high_snr_db=6.0).dataset("train", 0.5)
    snr = []
    for item in range(len(dataset)):
        mixture, sources, _ = dataset[(1, item)]
        assert sources.shape == (n_src, 4000)
        noise = mixture - sources.sum(0)
        snr.append(10 * np.log10((sources[0] ** 2).mean() / (noise**2).mean()))
    assert min(snr) > 3 - 1e-3
    assert max(snr) < 6 + 1e-3
    assert max(snr) - min(snr) > 2
    assert dataset.labels is None
    assert dataset[(1, 0)][0].equal(make(n_src, low_snr_db=3.0, high_snr_db=6.0).dataset("train", 0.5)[(1, 0)][0])
    assert not dataset[(1, 0)][0].equal(dataset[(2, 0)][0])


def test_splits_share_neither_speaker_nor_noise(make):
    data = make()
    groups = {}
    for split in ("train", "valid", "test"):
        sounds = data.sounds(split)
        groups[split] = {sound.name for sound in sounds.sounds if sound.kind != "speech"} | {
            sound.group for sound in sounds.sounds if sound.kind == "speech"
        }
    assert not groups["train"] & groups["valid"]
    assert not (groups["train"] | groups["valid"]) & groups["test"]
    whole = data.dataset("test")
    assert len(whole) == 10
    assert whole[0][0].shape[0] == whole.lengths[0]


def write(folder, n_files, seconds=1.0, rate=16_000, suffix="wav"):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n_files):
        soundfile.write(
            folder / f"n{i}.{suffix}", 0.1 * np.random.default_rng(i).standard_normal(int(seconds * rate)), rate
        )
    return folder


def test_any_folder_of_noise_is_split_by_its_names(make, tmp_path):
    root = write(tmp_path / "noise", 60, rate=22_050, suffix="flac")
    data = make(noise_root=str(root))
    parts = {split: {s.name for s in data.found(split)} for split in ("train", "valid", "test")}
    assert sum(map(len, parts.values())) == 60
    assert len(parts["train"]) > 40
    write(root, 70, rate=22_050, suffix="flac")
    assert parts["train"] < {s.name for s in data.found("train")}  # more files move none of the others
    for subset, n in (("tr", 3), ("cv", 2), ("tt", 1)):
        write(tmp_path / "wham" / subset, n)
    named = make(noise_root=str(tmp_path / "wham"), noise_subsets=["tr", "cv", "tt"])
    assert [len(named.found(split)) for split in ("train", "valid", "test")] == [3, 2, 1]


def test_it_is_the_segment_asked_for_that_recordings_must_hold(make):
    assert len(make().dataset("train", 0.5)) == 40
    with pytest.raises(StabError, match="as long as segment_s=2 "):
        make().dataset("train", 2.0)


def test_noise_that_cannot_be_used_is_told(make, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for kwargs, message in (
        ({"noise_root": None}, "^noise_root is not set; set noise_root=FOLDER to the folder of noise$"),
        ({"noise_root": "nowhere"}, "^noise_root: there is no folder nowhere; set noise_root=FOLDER to the"),
        ({"noise_root": str(empty)}, "must hold .wav, .flac, .ogg files, got none"),
        (
            {"noise_root": str(write(tmp_path / "one", 1))},
            "too few recordings to hold some out for .*; set noise_subsets=",
        ),
        ({"noise_root": str(write(tmp_path / "short", 60, 0.2))}, "as long as segment_s=0.5 .*, the longest 0.20 s"),
    ):
        with pytest.raises(StabError, match=message):
            [make(**kwargs).dataset(split, 0.5) for split in ("train", "valid", "test")]
    for kwargs, message in (
        ({"noise_subsets": ["tr"]}, r"noise_subsets must be given for train, valid, test, got \['tr'\]"),
        ({"low_snr_db": 9.0, "high_snr_db": 3.0}, "low_snr_db must be at most high_snr_db, got 9.0 and 3.0"),
        ({"noise_folds": [[1, 2], [2], [5]]}, "no fold in common"),
        ({"noise_folds": [[1], [2]]}, r"folds must be given for train, valid, test, got \[\[1\], \[2\]\]"),
    ):
        with pytest.raises(ValueError, match=message):
            make(**kwargs)


def test_errors_of_the_speech_name_its_arguments(make):
    speech = SpeechFolders()
    with pytest.raises(StabError, match="^base.root is not set; set base.root=FOLDER to the folder of speech"):
        make(base=speech).dataset("train")
    speech = ToyCorpus(sample_rate=16_000, n_utterances=1)
    assert make(base=speech).sample_rate == 16_000


def used(data, split="train"):
    sounds = data.sounds(split)
    mixtures = data.dataset(split, 0.5).mixtures
    return [sounds.sounds[mixture.sounds[0]].name for mixture in mixtures]


def test_each_utterance_is_used_once_before_one_comes_again(make):
    """As in LibriMix; otherwise speaker and utterance are drawn, and some come more often."""
    data = make(each_once=True, n_train=300)
    n_utterances = sum(sound.kind == "speech" for sound in data.sounds("train").sounds)
    assert n_utterances == 140
    names = used(data)
    first, second, rest = names[:140], names[140:280], names[280:]
    assert len({*first}) == len({*second}) == 140
    assert first != second != sorted(second)
    assert len({*rest}) == 20
    assert used(make(each_once=True, n_train=150)) == names[:150]
    assert len({*used(make(n_train=140))}) < 140


def test_each_once_is_for_one_speaker(make):
    with pytest.raises(ValueError, match=r"one speaker in a mixture \(n_src=1\), got n_src=2: .* prepare"):
        make(2, each_once=True)
