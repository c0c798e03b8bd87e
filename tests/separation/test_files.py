import numpy as np
import pytest
import soundfile as sf

from asteroid_stab.audio.stream import AudioInput
from asteroid_stab.errors import StabError
from asteroid_stab.separation.chunks import layout
from asteroid_stab.separation.files import separate_file

RATE = 8000
WINDOWS = layout(2.0, 0.5, RATE)


def halves(mixture):
    """Even and odd samples, with the senseless scales that SI-SDR allows."""
    even = np.arange(len(mixture)) % 2 == 0
    return np.stack([-30 * mixture * even, 0.01 * mixture * ~even]).astype(np.float32)


def recording(tmp_path, peak, n_samples=50_000):
    signal = np.random.default_rng(0).uniform(-peak, peak, n_samples).astype(np.float32)
    sf.write(tmp_path / "talk.wav", signal, RATE, "FLOAT")
    return signal


def test_estimates_have_the_scale_of_the_mixture(tmp_path):
    signal = recording(tmp_path, 0.5)
    with AudioInput(tmp_path / "talk.wav", RATE) as audio:
        paths = separate_file(halves, audio, tmp_path / "out", WINDOWS)
    assert [path.name for path in paths] == ["talk_est1.wav", "talk_est2.wav"]
    estimates = [sf.read(path, dtype="float32")[0] for path in paths]
    np.testing.assert_allclose(np.sum(estimates, axis=0), signal, atol=1e-6)
    assert sf.info(paths[0]).subtype == "FLOAT"
    assert sf.info(paths[0]).samplerate == RATE
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [path.name for path in paths]


def test_peaks_stay_below_one(tmp_path):
    signal = recording(tmp_path, 1.5)
    with AudioInput(tmp_path / "talk.wav", RATE) as audio:
        paths = separate_file(halves, audio, tmp_path, WINDOWS)
    estimates = np.stack([sf.read(path)[0] for path in paths])
    assert np.abs(estimates).max() == pytest.approx(0.99, abs=1e-6)
    np.testing.assert_allclose(estimates.sum(0), signal * (0.99 / np.abs(signal).max()), atol=1e-6)


def test_silent_estimate(tmp_path):
    signal = recording(tmp_path, 0.5)
    with AudioInput(tmp_path / "talk.wav", RATE) as audio:
        paths = separate_file(lambda x: np.stack([x, 0 * x, 0 * x]), audio, tmp_path, WINDOWS)
    np.testing.assert_allclose(sf.read(paths[0])[0], signal, atol=1e-6)
    assert not sf.read(paths[2])[0].any()


def test_nothing_is_left_of_a_damaged_recording(tmp_path):
    path = tmp_path / "talk.flac"
    sf.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 300_000), RATE, "PCM_16")
    path.write_bytes(path.read_bytes()[:-100_000])
    with AudioInput(path, RATE) as audio, pytest.raises(StabError, match="truncated|damaged"):
        separate_file(halves, audio, tmp_path / "out", WINDOWS)
    assert list((tmp_path / "out").iterdir()) == []


def test_place_that_cannot_be_written(tmp_path):
    recording(tmp_path, 0.5)
    (tmp_path / "out").write_text("a file, not a folder")
    with AudioInput(tmp_path / "talk.wav", RATE) as audio, pytest.raises(StabError, match="cannot write .*out"):
        separate_file(halves, audio, tmp_path / "out", WINDOWS)


def test_progress_counts_every_sample(tmp_path):
    recording(tmp_path, 0.5)
    steps = []
    with AudioInput(tmp_path / "talk.wav", RATE) as audio:
        separate_file(halves, audio, tmp_path, WINDOWS, steps.append)
    assert len(steps) > 1
    assert sum(steps) == 50_000


def voices(mixture):
    """Even samples, odd samples, and a residue of both at -40 dB."""
    even = np.arange(len(mixture)) % 2 == 0
    return np.stack([mixture * even, 0.01 * mixture, mixture * ~even]).astype(np.float32)


def test_only_active_estimates_are_written_with_numbers_from_one(tmp_path):
    signal = recording(tmp_path, 0.5)
    with AudioInput(tmp_path / "talk.wav", RATE) as audio:
        paths = separate_file(voices, audio, tmp_path / "out", WINDOWS, active_db=-20.0)
    assert [path.name for path in paths] == ["talk_est1.wav", "talk_est2.wav"]
    assert sorted((tmp_path / "out").iterdir()) == paths
    even = np.arange(len(signal)) % 2 == 0
    np.testing.assert_allclose(sf.read(paths[0])[0], signal * even, atol=1e-6)
    np.testing.assert_allclose(sf.read(paths[1])[0], signal * ~even, atol=1e-6)


def test_a_voice_is_judged_over_the_whole_recording(tmp_path):
    """Of ten seconds in windows of two, the second voice speaks in the first two and a half: -7 dB in all."""
    signal = np.random.default_rng(0).choice([-0.5, 0.5], 80_000)
    signal[20_001::2] = 0.0
    sf.write(tmp_path / "talk.wav", signal, RATE, "FLOAT")
    for level, names in ((-7.5, ["talk_est1.wav", "talk_est2.wav"]), (-6.5, ["talk_est1.wav"]), (-0.5, [])):
        with AudioInput(tmp_path / "talk.wav", RATE) as audio:
            paths = separate_file(voices, audio, tmp_path / f"out{level}", WINDOWS, active_db=level)
        assert [path.name for path in paths] == names
    assert list((tmp_path / "out-0.5").iterdir()) == []


def test_the_peak_of_an_estimate_that_is_left_out_scales_nothing(tmp_path):
    signal = recording(tmp_path, 0.5, 9000)
    signal[2000] = 3.0
    sf.write(tmp_path / "talk.wav", signal, RATE, "FLOAT")

    def forward(mixture):  # the residue, in the scale in which it explains the mixture, has a peak of 3
        return np.stack([mixture * (np.abs(mixture) <= 0.5), 1e-3 * mixture * (np.abs(mixture) > 0.5)])

    for level, peak in ((None, 0.99 / 3 * 0.5), (-20.0, 0.5)):
        with AudioInput(tmp_path / "talk.wav", RATE) as audio:
            first, *_ = separate_file(forward, audio, tmp_path / str(level), WINDOWS, active_db=level)
        assert np.abs(sf.read(first)[0]).max() == pytest.approx(peak, rel=1e-3)


def test_a_level_that_is_no_level(tmp_path):
    recording(tmp_path, 0.5)
    with (
        AudioInput(tmp_path / "talk.wav", RATE) as audio,
        pytest.raises(ValueError, match="active_db must be a number below 0, got 3"),
    ):
        separate_file(voices, audio, tmp_path / "out", WINDOWS, active_db=3)
    assert not (tmp_path / "out").exists()
