from __future__ import annotations

import base64
import io
import json
import os

import numpy as np
import pytest
import soundfile as sf

from asteroid_stab.errors import StabError
from asteroid_stab.report.listening import listening
from asteroid_stab.report.parts import Note
from asteroid_stab.report.run_data import read_runs

RATE = 8000


def decoded(player):
    return sf.read(io.BytesIO(base64.b64decode(player.audio.partition("base64,")[2])))


def best_of(path):
    section = listening(3.5, 12.0)(read_runs([path]))
    return section.parts[0].items[0]


def replace(path, name, samples):
    sf.write(path / f"evaluation/test/examples/best/{name}.wav", samples, RATE, subtype="FLOAT")


def test_the_sounds_are_those_of_the_evaluation(whole_run):
    item = best_of(whole_run)
    sounds = {}
    for name in ("mixture", "source_1", "source_2", "estimate_1", "estimate_2"):
        sounds[name], _ = sf.read(whole_run / f"evaluation/test/examples/best/{name}.wav")
    played = {"mixture": item.mixture}
    for j, (estimate, reference) in enumerate(item.pairs, start=1):
        assert (estimate.title, reference.title) == (f"Estimate {j}", f"Reference {j}")
        played |= {f"estimate_{j}": estimate, f"source_{j}": reference}
    gains = []
    for name, player in played.items():
        samples, rate = decoded(player)
        assert (rate, len(samples)) == (RATE, len(sounds[name]))
        gains.append(samples @ sounds[name] / (sounds[name] @ sounds[name]))
        np.testing.assert_allclose(samples, gains[-1] * sounds[name], atol=1e-4)
    np.testing.assert_allclose(gains, gains[0], rtol=1e-3)  # one gain for all: their levels can be compared
    peak = max(np.abs(decoded(player)[0]).max() for player in played.values())
    assert peak == pytest.approx(0.9, abs=1e-3)


def test_headings_tell_which_item_it_is(whole_run):
    examples = json.loads((whole_run / "evaluation/test/examples/examples.json").read_text())
    item = best_of(whole_run)
    assert item.title == f"Best: {examples[0]['si_sdr_i']:.2f} dB SI-SDRi"
    assert item.detail == f"{examples[0]['name']} · 0.5 s"


def test_long_sounds_are_cut_to_what_fits(make_run):
    path = make_run(seconds=2.0, n_src=3)
    players = listening(0.2, 12.0)(read_runs([path])).parts[0]
    sounds = [
        player
        for item in players.items
        for player in (item.mixture, *(player for pair in item.pairs for player in pair))
    ]
    assert len(sounds) == 21
    total = sum(len(player.audio) for player in sounds)
    assert 0.19e6 < total < 0.2e6 + 21 * 100  # the heads of the files come on top
    seconds = len(decoded(sounds[0])[0]) / RATE
    assert players.items[0].detail.endswith(f"first {seconds:.1f} s of 2.0 s")


def test_several_runs_share_the_page(make_run):
    paths = [make_run(name, seconds=2.0) for name in "ab"]
    one, two = (listening(3.5, 0.2)(read_runs(paths[:n])).parts[0] for n in (1, 2))
    lengths = [len(players.items[0].mixture.audio) for players in (one, two)]
    assert lengths[1] == pytest.approx(lengths[0] / 2, rel=0.02)


@pytest.mark.parametrize("silent", ["estimate_1", "source_1"])
def test_silence_stays_silent(make_run, silent):
    path = make_run()
    replace(path, silent, np.zeros(4000))
    estimate, reference = best_of(path).pairs[0]
    player, other = (estimate, reference) if silent == "estimate_1" else (reference, estimate)
    assert np.abs(decoded(player)[0]).max() == 0
    assert 0.01 < np.abs(decoded(other)[0]).max() < 0.91


def test_one_estimate_too_many_is_shown_without_a_reference(make_run):
    path = make_run()
    replace(path, "estimate_3", 0.1 * np.ones(4000))
    pairs = best_of(path).pairs
    assert pairs[2][0].title == "Estimate 3"
    assert pairs[2][1] is None


def test_a_sound_that_cannot_be_read_is_named(make_run):
    path = make_run()
    (path / "evaluation/test/examples/best/source_2.wav").write_bytes(b"RIFF")
    with pytest.raises(StabError, match=r"best/source_2.wav must be a sound file, got"):
        best_of(path)


def test_without_sounds_there_is_a_note_and_without_an_evaluation_nothing(make_run, tmp_path):
    path = make_run()
    (path / "evaluation/test/examples/examples.json").unlink()
    (note,) = listening(3.5, 12.0)(read_runs([path])).parts
    assert isinstance(note, Note)
    assert note.command == f"asteroid-stab evaluate {path} --split test --overwrite"
    assert listening(3.5, 12.0)(read_runs([path], split="valid")) is None


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros((800, 2)), RATE, "source_1.wav must be a sound of one channel: it has 2 channels"),
        (np.zeros(80), 20, "must be a sound of one channel: its header states 20 Hz"),
        (np.zeros(80), 2**31 - 1, "must be a sound of one channel: its header states 2147483647 Hz"),
        (np.zeros(800), 16000, "source_1.wav must have the 8000 Hz of mixture.wav, got 16000 Hz"),
        (np.full(800, np.inf), RATE, "source_1.wav is damaged: a sample is not finite"),
    ],
)
def test_a_sound_that_no_evaluation_writes_is_named(make_run, samples, rate, message):
    path = make_run()
    sf.write(path / "evaluation/test/examples/best/source_1.wav", samples, rate, subtype="FLOAT")
    with pytest.raises(StabError, match=message):
        best_of(path)


def test_a_sound_that_breaks_off_in_its_middle_is_named(make_run, tmp_path):
    path = make_run()
    sound = tmp_path / "a.flac"
    sf.write(sound, np.random.default_rng(0).normal(size=40000) * 0.1, RATE)
    content = bytearray(sound.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 500] = bytes(500)
    (path / "evaluation/test/examples/best/mixture.wav").write_bytes(content)
    with pytest.raises(StabError, match=r"mixture.wav is damaged: .*decoder"):
        best_of(path)


def test_a_pipe_is_not_waited_for(make_run):
    path = make_run()
    file = path / "evaluation/test/examples/best/mixture.wav"
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(StabError, match=r"mixture.wav must be a sound file, got none"):
        best_of(path)
