import numpy as np
import pytest
import soundfile as sf
from scipy.signal import resample_poly

from asteroid_stab.audio.stream import AudioInput
from asteroid_stab.errors import StabError

RATE = 8000


def noise(n_samples, n_channels=1, seed=0):
    signal = 0.1 * np.random.default_rng(seed).standard_normal((n_samples, n_channels))
    return signal.astype(np.float32)


def read(path, *args, **kwargs):
    with AudioInput(path, RATE, *args, **kwargs) as audio:
        samples = np.concatenate(list(audio.blocks()))
        assert samples.dtype == np.float32
        assert len(samples) == audio.n_samples
        return samples


@pytest.mark.parametrize(("kind", "subtype"), [("wav", "FLOAT"), ("wav", "PCM_16"), ("flac", "PCM_16")])
def test_samples(tmp_path, kind, subtype):
    signal = noise(200_001)
    sf.write(tmp_path / f"a.{kind}", signal, RATE, subtype)
    np.testing.assert_allclose(read(tmp_path / f"a.{kind}"), signal[:, 0], atol=4e-5)


def test_channels(tmp_path):
    signal = noise(1000, 3)
    sf.write(tmp_path / "a.wav", signal, RATE, "FLOAT")
    np.testing.assert_array_equal(read(tmp_path / "a.wav", [1]), signal[:, 1])
    np.testing.assert_allclose(read(tmp_path / "a.wav", "mix"), signal.mean(1), atol=1e-7)
    with pytest.raises(StabError, match="has 3 channels"):
        AudioInput(tmp_path / "a.wav", RATE)
    with pytest.raises(StabError, match="at most 3, got 4"):
        AudioInput(tmp_path / "a.wav", RATE, [3])


@pytest.mark.parametrize("rate", [44_100, 16_000, 11_025, 4_000])
def test_other_rates(tmp_path, rate):
    signal = noise(3 * rate + 17)
    sf.write(tmp_path / "a.wav", signal, rate, "FLOAT")
    with pytest.raises(StabError, match=rf"works at 8000 Hz, the file is sampled at {rate} Hz"):
        AudioInput(tmp_path / "a.wav", RATE)
    whole = resample_poly(signal[:, 0].astype(np.float64), RATE, rate)
    np.testing.assert_allclose(read(tmp_path / "a.wav", resample=True), whole, atol=1e-6)


def test_files_that_are_no_recordings(tmp_path):
    with pytest.raises(StabError, match="no such file"):
        AudioInput(tmp_path / "a.wav", RATE)
    with pytest.raises(StabError, match="a folder"):
        AudioInput(tmp_path, RATE)
    (tmp_path / "a.wav").write_text("not a sound")
    with pytest.raises(StabError, match="no readable audio"):
        AudioInput(tmp_path / "a.wav", RATE)
    (tmp_path / "empty.wav").touch()
    with pytest.raises(StabError, match="no readable audio"):
        AudioInput(tmp_path / "empty.wav", RATE)
    sf.write(tmp_path / "none.wav", noise(0), RATE)
    with pytest.raises(StabError, match="no samples"):
        AudioInput(tmp_path / "none.wav", RATE)


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_truncated(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    sf.write(path, noise(300_000), RATE, "PCM_16")
    path.write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(StabError, match=r"truncated|damaged after \d+\.\d\d s"):
        read(path)


def test_samples_that_are_not_finite(tmp_path):
    signal = noise(100_000)
    signal[90_000] = np.nan
    sf.write(tmp_path / "a.wav", signal, RATE, "FLOAT")
    with pytest.raises(StabError, match=r"a sample at 11\.25 s is not finite"):
        read(tmp_path / "a.wav")


def test_several_channels(tmp_path):
    signal = noise(200_000, 3)
    sf.write(tmp_path / "a.wav", signal, RATE, "FLOAT")

    def blocks(channels=None, **kwargs):
        with AudioInput(tmp_path / "a.wav", kwargs.pop("rate", RATE), channels, **kwargs) as audio:
            found = list(audio.blocks())
            assert sum(block.shape[-1] for block in found) == audio.n_samples
            return np.concatenate(found, axis=-1)

    for n_mics in (3, None):
        np.testing.assert_array_equal(blocks(n_mics=n_mics), signal.T)
    np.testing.assert_array_equal(blocks([2, 0], n_mics=2), signal.T[[2, 0]])
    np.testing.assert_array_equal(blocks([2], n_mics=None), signal[:, 2])
    half = blocks([1, 2], rate=4000, resample=True, n_mics=2)
    np.testing.assert_array_equal(half[1], blocks([2], rate=4000, resample=True))
    for channels, n_mics, message in (
        (None, 2, "it has 3 channels: the model takes 2: --channel 1,2 takes the first ones, the reference microphone"),
        (None, 4, "it has 3 channels: the model takes 4$"),
        ([0, 3], 2, "--channel must be at most 3, got 4"),
        ([0, 1], 3, "--channel of 2 channels does not fit the model, which takes 3 channels"),
        ([0, 1], 1, "--channel of 2 channels does not fit the model, which takes 1 channel$"),
        ("mix", 2, "--channel mix does not fit the model, which takes 2 channels"),
    ):
        with pytest.raises(StabError, match=message):
            AudioInput(tmp_path / "a.wav", RATE, channels, n_mics=n_mics)


def test_a_sample_that_is_not_finite_in_any_channel_is_named(tmp_path):
    signal = noise(20_000, 2)
    signal[12_000, 1] = np.nan
    sf.write(tmp_path / "a.wav", signal, RATE, "FLOAT")
    with AudioInput(tmp_path / "a.wav", RATE, n_mics=2) as audio, pytest.raises(StabError, match=r"at 1.50 s is not"):
        list(audio.blocks())
