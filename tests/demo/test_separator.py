"""The demo separates as the command does, and says in a sentence why it does not."""

import numpy as np
import pytest
import soundfile as sf

from asteroid_stab.cli import separate
from asteroid_stab.demo.page import CHANNELS, channels
from asteroid_stab.demo.separator import TRAINED, Separation, Separator, aligned
from asteroid_stab.errors import StabError
from asteroid_stab.microphones import MicChoice
from asteroid_stab.models import MultiMicConvTasNet, save_model


@pytest.fixture
def place(tmp_path):
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.mark.parametrize(("channel", "word"), [("mix", "mix"), (0, "1"), (1, "2")])
def test_it_separates_as_the_command_does(model, recording, place, tmp_path, channel, word):
    file = recording(rate=16_000, n_channels=2)
    found = Separator(model).separate(file, channel, place)
    words = ["--resample", "--channel", word, "--out", str(tmp_path / "out")]
    separate.main([str(model), str(file), *words])
    assert [path.name for path in found.estimates] == ["talk_est1.wav", "talk_est2.wav"]
    for path in found.estimates:
        np.testing.assert_array_equal(sf.read(path)[0], sf.read(tmp_path / "out" / path.name)[0])
    assert (found.length_s, found.sample_rate) == (0.75, 8000)
    assert found.note == f"{'mean of 2 channels' if word == 'mix' else f'channel {word}'}, resampled from 16,000 Hz"
    mixture, rate = sf.read(found.mixture)
    assert (found.mixture.name, len(mixture), rate) == ("talk_mixture.wav", 6000, 8000)
    assert mixture.std() > 0.1


def test_it_takes_the_microphone_of_the_training(tmp_path, tiny_model, make_run, recording, place):
    save_model(tiny_model(), tmp_path / "model.pth", microphones=MicChoice([2], None))
    file, one = recording(n_channels=4), recording("one.wav")
    for source in (tmp_path / "model.pth", make_run("run")):
        if source.is_dir():  # of an older version, whose model file names none
            config = source / "config.yaml"
            config.write_text(config.read_text().replace("ToyCorpus}", "ToyCorpus, mics: [2]}"))
        separator = Separator(source)
        (folder := place / source.name).mkdir()
        found = separator.separate(file, TRAINED, folder)
        assert found.note == "channel 3"
        np.testing.assert_allclose(sf.read(found.mixture)[0], sf.read(file)[0][:, 2], atol=1e-6)
        assert channels([separator])[0] == ("the one of the model's training", TRAINED)
        assert separator.separate(one, TRAINED, folder).note == ""
        assert separator.separate(recording("two.wav", n_channels=2), TRAINED, folder).note == "mean of 2 channels"
    assert channels([Separator(make_run("plain"))]) == [*CHANNELS]


def test_progress_goes_to_the_end_and_may_end_the_work(model, recording, place):
    separator = Separator(model, window_s=1.0, overlap_s=0.2)
    file, shares = recording(n_samples=40_000), []
    assert separator.separate(file, "mix", place, shares.append).note == ""
    assert shares == sorted(shares)
    assert len(shares) > 4
    assert shares[-1] == 1.0

    def end(share):
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        separator.separate(file, "mix", place, end)


def test_a_recording_that_cannot_be_separated_is_explained(model, recording, place, tmp_path):
    separator = Separator(model)
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.wav").touch()
    cases = [
        (recording("short.wav", 100), "mix", r"it is 0.013 s long; a recording must have 0.1 s at least"),
        (recording(), 1, "it has one channel, so that there is no channel 2"),
        (recording("three.wav", n_channels=3), 7, "it has 3 channels, so that there is no channel 8"),
        (recording("none.wav", 0), "mix", "it holds no samples"),
        (tmp_path / "text.wav", "mix", "no readable audio: "),
        (tmp_path / "empty.wav", "mix", "no readable audio: "),
    ]
    for file, channel, message in cases:
        with pytest.raises(StabError, match=message):
            separator.separate(file, channel, place)
    assert not list(place.iterdir())


def test_a_run_that_knows_silence_leaves_inactive_estimates_out(make_run, recording, place):
    variable = "system: {_target_: asteroid_stab.engine.VariableSourcesSystem, _partial_: true, active_db: %s}\n"
    for level, words in ((-200.0, "2 estimates"), (-0.0001, "no estimates")):
        separator = Separator(make_run(f"run{level}", config=variable % level))
        assert separator.active_db == level
        (folder := place / str(level)).mkdir()
        found = separator.separate(recording(), "mix", folder)
        assert found.note.startswith(words)
    assert Separator(make_run("plain")).active_db is None
    assert Separator(make_run("damaged", config="{")).active_db is None


def test_a_model_that_cannot_be_used_is_named(tmp_path, model):
    with pytest.raises(StabError, match="no model file"):
        Separator(tmp_path / "other.pth")
    with pytest.raises(StabError, match="half a window"):
        Separator(model, overlap_s=8.0)
    save_model(MultiMicConvTasNet(2, n_filters=8, n_blocks=1, n_repeats=1), tmp_path / "two.pth")
    with pytest.raises(StabError, match="the demo is of one microphone, and MultiMicConvTasNet takes 2"):
        Separator(tmp_path / "two.pth")


@pytest.fixture
def write(tmp_path):
    """Writes signals as a separation."""

    def write(name, signals, rate=8000):
        files = [tmp_path / f"{name}{j}.wav" for j in range(len(signals))]
        for file, signal in zip(files, signals, strict=True):
            sf.write(file, signal, rate, "FLOAT")
        return Separation(files[0], files, 1.0, rate)

    return write


def test_the_second_model_follows_the_order_of_the_first(write):
    signals = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 8000))
    first, second = write("a", signals), write("b", 0.3 * signals[[2, 0, 1]] + 0.1 * signals)
    assert [path.name for path in aligned(first, second).estimates] == ["b1.wav", "b2.wav", "b0.wav"]


def test_what_cannot_be_matched_stays_in_its_order(write):
    signals = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 8000))
    first = write("a", signals)
    for other in (write("b", signals[[2, 0, 1]], 16_000), write("c", signals[[2, 1]])):
        assert aligned(first, other) is other
