"""Pictures of sounds, decoded again and looked at."""

import io

import numpy as np
import pytest
import soundfile as sf
from matplotlib.image import imread

from asteroid_stab.report import spectrogram as module
from asteroid_stab.report.spectrogram import data_uri, file_spectrogram, spectrogram

RATE = 8000


def picture(samples, rate=RATE):
    return imread(io.BytesIO(spectrogram(samples, rate)), format="jpg").sum(
        axis=-1, dtype=float
    )  # magma: more light, more level


@pytest.mark.parametrize(("rate", "frequency"), [(8000, 1000), (16000, 6000), (44100, 15000)])
def test_a_tone_is_bright_at_its_frequency(rate, frequency):
    tone = 0.5 * np.sin(2 * np.pi * frequency * np.arange(rate) / rate)
    shown = picture(tone, rate)
    row = shown.mean(axis=1).argmax()  # row 0 is the top
    expected = (1 - frequency / (rate / 2)) * shown.shape[0]
    assert abs(row - expected) <= 2


def test_time_runs_to_the_right_and_no_click_is_lost():
    samples = np.zeros(60 * RATE)
    samples[45 * RATE : 45 * RATE + 20] = 0.9
    shown = picture(samples)
    brightest = shown.max(axis=0).argmax() / shown.shape[1]
    assert brightest == pytest.approx(0.75, abs=0.01)
    assert shown.max() > shown.min() + 0.5


@pytest.mark.parametrize("length", [0, 1, 100, 3000])
def test_short_sounds_have_a_picture(length):
    assert picture(np.ones(length)).shape[0] == 128


def test_a_file_has_the_picture_of_its_samples(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, 3 * RATE)
    sf.write(tmp_path / "a.wav", samples, RATE, "DOUBLE")
    assert file_spectrogram(tmp_path / "a.wav", gain=3.0) == spectrogram(3.0 * samples, RATE)


def test_a_long_file_is_read_in_columns(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WHOLE_S", 2.0)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(40 * RATE) / RATE)
    tone[10 * RATE : 30 * RATE] = 0.0
    tone[20 * RATE] = 0.9  # a click of one sample
    sf.write(tmp_path / "a.wav", tone, RATE)
    shown = imread(io.BytesIO(file_spectrogram(tmp_path / "a.wav")), format="jpg").sum(axis=-1, dtype=float)
    assert shown.shape == (128, 320)
    row = shown[:, :70].mean(axis=1).argmax()
    assert abs(row - 0.75 * 128) <= 2
    assert shown[row, 90:150].max() < shown[row, :70].mean() / 4
    assert abs(shown[:10].max(axis=0).argmax() - 160) <= 1  # the click, above the tone


def test_a_picture_may_stand_in_the_page_itself():
    assert data_uri("image/jpeg", b"abc") == "data:image/jpeg;base64,YWJj"
