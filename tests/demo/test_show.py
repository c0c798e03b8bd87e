"""The HTML of the demo."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from asteroid_stab.demo import show
from asteroid_stab.demo.separator import Separation, Separator
from asteroid_stab.report.run_data import read_runs


@pytest.fixture
def separation(tmp_path):
    """Three estimates of a second."""
    files = [tmp_path / f"{name}.wav" for name in ("mixture", "est1", "est2", "est3")]
    for file in files:
        sf.write(file, np.random.default_rng(0).uniform(-0.1, 0.1, 8000), 8000)
    return Separation(files[0], files[1:], 1.0, 8000, "mean of 2 channels")


def sounds(html):
    return re.findall(r'<audio [^>]*src="([^"]+)" aria-label="([^"]+)"', html)


def test_each_speaker_has_a_player_and_a_picture(separation):
    html = show.separated("a<b>.wav", ["net"], [separation], 2.34, lambda file: f"sounds/{file.name}")
    assert sounds(html) == [
        ("sounds/mixture.wav", "Mixture"),
        *((f"sounds/est{j}.wav", f"Speaker {j}") for j in (1, 2, 3)),
    ]
    assert html.count('src="data:image/jpeg;base64,') == 4
    assert "a&lt;b&gt;.wav" in html
    assert "<b>" not in html
    assert "1 s · mean of 2 channels · separated in 2.3 s" in html


def test_two_models_stand_beside_each_other(separation):
    other = replace(separation, estimates=separation.estimates[:2], note="")
    html = show.separated("talk", ["one", "two"], [separation, other], 1.0, lambda file: file.name)
    assert [label for _, label in sounds(html)] == [
        "Mixture", "Speaker 1 · one", "Speaker 1 · two", "Speaker 2 · one", "Speaker 2 · two", "Speaker 3 · one",
    ]  # fmt: skip
    assert "one: mean of 2 channels" in html
    assert "two: " not in html


def test_no_active_speaker_and_silence_have_a_page(separation, tmp_path):
    sf.write(tmp_path / "mixture.wav", np.zeros(800), 8000)
    html = show.separated("talk", ["net"], [replace(separation, estimates=[])], 1.0, lambda file: file.name)
    assert [label for _, label in sounds(html)] == ["Mixture"]


def test_a_run_shows_how_its_labels_settled(make_run):
    (one,) = read_runs([make_run("dsd")])
    html = show.about([one])
    assert "Switch ratio" in html
    assert "11.1 %" in html  # of the last epoch
    assert "3.25 dB" in html
    both = show.about(read_runs([make_run("a"), make_run("b")]))
    assert both.count('<th scope="row">') == 2
    assert "A run folder in place of a model file" in show.about([])


def test_the_head_names_the_models(model, make_run):
    one, two = Separator(model), Separator(make_run("study/dsd/1"))
    assert show.names([one]) == ["model.pth"]
    assert show.names([two]) == [str(Path("dsd/1"))]
    assert "<h1>model.pth</h1>" in show.heading([one])
    html = show.heading([one, Separator(make_run("study/pit"))])
    assert "<h1>model.pth and pit</h1>" in html
    assert f"pit: ConvTasNet, 8,000 Hz, {one.n_parameters / 1000:.0f} k parameters" in html


def test_the_style_holds_in_its_class_only():
    style = show.style()
    assert style.index(".stab {") < style.index(".sounds {") < style.index(".stab h1 {")
    assert "--c0: #0072b2;" in style
    assert "--c0: #56b4e9;" in style
    assert "\nbody {" not in style
    assert "setUpPlayers" in show.script()


def test_sentences_are_escaped():
    assert "&lt;i&gt; is no name" in show.problem("<i> is no name")
    assert "the speakers appear here" in show.empty()
