"""Mixtures of recordings in ESC-50's layout: who is mixed with whom, at which level, in which crops."""

import pickle
import shutil

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from asteroid_stab.data import EscCorpus, MixtureDataModule, SpeechEscCorpus
from asteroid_stab.data.corpora.sound_mixtures import RMS
from asteroid_stab.errors import StabError


@pytest.fixture
def make(esc, tmp_path):
    def make(kind=EscCorpus, **kwargs):
        given = {"root": str(esc), "n_train": 60, "n_valid": 20, "n_test": 20}
        return kind(**{**given, "cache_dir": str(tmp_path / "cache"), **kwargs})

    return make


@pytest.fixture
def make_with_speech(make, make_speech, tmp_path):
    root = make_speech(tmp_path / "speech", n_speakers=8)
    make_speech(root, n_speakers=3, subset="test-other")
    make_speech(root, n_speakers=4, subset="dev")
    return lambda **kwargs: make(SpeechEscCorpus, **{"speech_root": str(root), "valid_speakers": 2, **kwargs})


def level_db(sources):
    power = (sources.numpy() ** 2).mean(1)
    return 10 * np.log10(power[:-1] / power[-1])


def test_sources_are_of_different_classes_and_folds_stay_apart(make):
    data = make(n_src=3)
    used = {}
    for split in ("train", "valid", "test"):
        dataset = data.dataset(split, 0.5)
        assert dataset.classes == ("dog", "rain", "rooster", "sea_waves")
        assert dataset.labels.shape == (len(dataset), 3)
        assert all(len(set(row)) == 3 for row in dataset.labels.tolist())
        stems = [name.split("_")[1:] for name in dataset.names]
        used[split] = {stem for row in stems for stem in row}
        assert [[int(stem[-1]) for stem in row] for row in stems] == dataset.labels.tolist()
    assert [{stem[0] for stem in used[split]} for split in used] == [{"1", "2", "3"}, {"4"}, {"5"}]


def test_levels_energy_and_mean(make):
    """Sources sum to the mixture, have no mean, and differ by a level that is uniform and the same in every epoch."""
    dataset = make(n_train=300).dataset("train", 0.5)
    levels = []
    for item in range(300):
        mixture, sources, _ = dataset[(0, item)]
        assert np.abs(mixture.numpy() - sources.numpy().sum(0)).max() < 1e-6
        assert np.abs(sources.numpy().mean(1)).max() < 1e-6
        assert mixture.std(correction=0).item() == pytest.approx(RMS, rel=1e-4)
        levels.append(level_db(sources)[0])
    assert level_db(dataset[(7, 0)][1])[0] == pytest.approx(levels[0], abs=1e-4)
    assert -2.5 <= min(levels) < -2.2
    assert 2.2 < max(levels) <= 2.5
    assert abs(np.mean(levels)) < 0.3
    assert np.std(levels) == pytest.approx(5 / np.sqrt(12), rel=0.1)


def test_a_mixture_is_the_same_for_its_id_and_moves_from_epoch_to_epoch(make):
    one, same = make().dataset("train", 0.5), make(n_train=70).dataset("train", 0.5)
    assert one.names == same.names[:60]
    mixture, again, later = one[(2, 5)][0], same[(2, 5)][0], one[(3, 5)][0]
    assert mixture.equal(again)
    assert not mixture.equal(later)
    other = make().dataset("train", 0.5, seed=1)
    assert other.names == one.names
    assert other.fingerprint == one.fingerprint != same.fingerprint
    assert not other[(2, 5)][0].equal(mixture)
    assert make(corpus_seed=1).dataset("train", 0.5).names != one.names
    assert make(level_db=1.0).dataset("train", 0.5).fingerprint != one.fingerprint
    assert pickle.loads(pickle.dumps(one))[(2, 5)][0].equal(mixture)


def test_crops_are_never_silent(make):
    """Two thirds of every second dog are silent."""
    dataset = make(n_train=200, classes=["dog", "rain"]).dataset("train", 0.25)
    for epoch in range(3):
        for item in range(len(dataset)):
            sources = dataset[(epoch, item)][1]
            assert sources.std(1).min() > 0.03


def test_samples_are_the_recording_resampled(make, esc):
    dataset = make(level_db=0.0).dataset("test")
    _, sources, _ = dataset[0]
    for stem, source in zip(dataset.names[0].split("_")[1:], sources.numpy(), strict=True):
        signal = resample_poly(soundfile.read(esc / "audio" / f"{stem}.wav")[0], 80, 441)
        signal -= signal.mean()
        np.testing.assert_allclose(source / source.std(), signal / signal.std(), atol=2e-3)  # packed in 16 bits


def test_speech_and_sounds_are_mixed_half_and_half(make_with_speech):
    data = make_with_speech(n_train=400)
    dataset = data.dataset("train", 0.5)
    assert dataset.classes == ("speech", "env")
    counts = np.bincount(dataset.labels.sum(1))
    assert counts[1] == pytest.approx(200, abs=45)
    assert counts[0] == pytest.approx(100, abs=40)
    speakers = {s: {x.group for x in data.sounds(s).sounds if x.kind == "speech"} for s in ("train", "valid", "test")}
    assert {s: len(groups) for s, groups in speakers.items()} == {"train": 6, "valid": 2, "test": 3}
    assert not speakers["train"] & speakers["valid"]
    for name, labels in zip(dataset.names, dataset.labels, strict=True):
        stems = name.split("_")[1:]
        if labels.sum() == 0:  # never one speaker twice
            assert stems[0].split("-")[0] != stems[1].split("-")[0]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"root": None}, "^root is not set; set root=FOLDER to the ESC-50 folder$"),
        ({"root": "nowhere"}, "^root: there is no folder nowhere; set root=FOLDER to the ESC-50 folder$"),
        ({"train_folds": [1, 2, 9]}, "folds must be of 1, 2, 3, 4, 5, got 9"),
        ({"valid_folds": [3]}, r"train_folds and valid_folds must have no fold in common, got \\[3\\]"),
        ({"test_folds": []}, "test_folds must name a fold, got none"),
        ({"classes": ["dog", "roster"]}, "classes must be of dog, rain, rooster, sea_waves, got roster .*'rooster'"),
        ({"level_db": -1.0}, "level_db must be a number of dB from 0 on, got -1"),
        ({"n_src": 5}, "a mixture of 5 must have recordings of as many groups .*, got 4"),
        ({"classes": []}, "classes must name a class of ESC-50, got none"),
        ({"n_train": 0}, "n_train must be an integer of at least 1"),
    ],
)
def test_what_cannot_be_mixed_is_told(make, kwargs, message):
    with pytest.raises(ValueError, match=message.replace("\\\\", "\\")):
        make(**kwargs).dataset("train", 0.5)


def test_a_segment_longer_than_all_recordings(make):
    with pytest.raises(StabError, match="no recording of .* for train is as long as segment_s=2 .*, the longest 1.50"):
        make().dataset("train", 2.0)


def test_whole_mixtures_do_not_depend_on_the_segment(make, esc, caplog, tmp_path):
    """A recording that is too short for a crop: its mixtures are left out of training, in words, and not of a test."""
    root = tmp_path / "copy"
    shutil.copytree(esc, root)
    soundfile.write(
        next((root / "audio").glob("5-50-A*")), 0.1 * np.random.default_rng(0).standard_normal(11_025), 44_100
    )
    soundfile.write(
        next((root / "audio").glob("1-10-A*")), 0.1 * np.random.default_rng(0).standard_normal(11_025), 44_100
    )
    corpus = make(root=str(root))
    assert len(corpus.dataset("test")) == 20
    data = MixtureDataModule(corpus, 0.5)
    data.setup("fit")
    n_left = 60 - sum("1-10-A" in name for name in corpus.dataset("train", 0.2).names)
    assert len(data.train_set) == n_left < 60
    assert f"train: left out {60 - n_left} of 60 mixtures shorter than segment_s=0.5" in caplog.text


def test_a_quiet_recording_is_not_silent(make, esc, tmp_path):
    """What a crop holds is looked at next to its own recording, also where nothing is resampled."""
    root = tmp_path / "copy"
    shutil.copytree(esc, root)
    for file in (root / "audio").iterdir():
        soundfile.write(file, 5e-4 * np.random.default_rng(0).standard_normal(12_000), 8000)
    dataset = make(root=str(root)).dataset("train", 0.5)
    assert not dataset[(0, 0)][1].equal(dataset[(1, 0)][1])


def test_a_damaged_corpus_is_told(make, esc, tmp_path):
    with pytest.raises(StabError, match="it must hold meta/esc50.csv and audio/"):
        make(root=str(tmp_path)).dataset("train")
    root = tmp_path / "copy"
    shutil.copytree(esc, root)
    next((root / "audio").glob("1-10-A*")).unlink()
    with pytest.raises(StabError, match=r"1-10-A-0.wav is in esc50.csv, but there is no such file"):
        make(root=str(root)).dataset("train")
    shutil.copytree(esc, root, dirs_exist_ok=True)
    table = root / "meta" / "esc50.csv"
    text = table.read_text()
    table.write_text("\ufeff" + text, encoding="utf-8")
    make(root=str(root)).dataset("train")
    table.write_text(text + "alone.wav\n")
    with pytest.raises(StabError, match="row 41 of the ESC-50 table .* must have a fold, got nothing"):
        make(root=str(root)).dataset("train")
    table.write_bytes(text.replace("rain", "r\xe4in").encode("latin-1"))
    with pytest.raises(StabError, match="cannot read the ESC-50 table .*utf-8"):
        make(root=str(root)).dataset("train")
    table.write_text(text)
    soundfile.write(next((root / "audio").glob("1-10-A*")), np.zeros(66_150), 44_100)
    dataset = make(root=str(root), classes=["dog", "rain"]).dataset("train", 0.5)
    with pytest.raises(StabError, match="the recording 'audio/1-10-A-0.wav' is silent throughout"):
        [dataset[item] for item in range(len(dataset))]


def test_speakers_can_be_in_folders_of_their_own(make_with_speech):
    data = make_with_speech(valid_subset="dev")
    assert len({s.group for s in data.sounds("train").sounds if s.kind == "speech"}) == 8
    assert len({s.group for s in data.sounds("valid").sounds if s.kind == "speech"}) == 4
    for subsets in (
        {"valid_subset": "test-other"},
        {"valid_subset": "train-clean-100"},
        {"test_subset": "train-clean-100"},
    ):
        with pytest.raises(ValueError, match="_subset must be different folders, both are"):
            make_with_speech(**subsets)
    with pytest.raises(StabError, match="^valid_speakers must be less than the 8 speakers of train-clean-100, got 8$"):
        make_with_speech(valid_speakers=8).dataset("train")
    with pytest.raises(StabError, match="^speech_root is not set; set speech_root=FOLDER to the folder of speech"):
        make_with_speech(speech_root=None).dataset("train")
