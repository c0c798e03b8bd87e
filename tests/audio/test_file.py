"""Headers and samples of audio files, against libsndfile."""

import numpy as np
import pytest
import soundfile as sf

from asteroid_stab.audio.file import Header, check_header, read_header, read_headers, read_samples
from asteroid_stab.errors import StabError


@pytest.mark.parametrize(
    ("name", "rate", "n_channels", "subtype"),
    [
        ("a.flac", 16_000, 1, "PCM_16"),
        ("a.flac", 44_100, 2, "PCM_24"),
        ("a.flac", 8000, 8, "PCM_S8"),
        ("a.wav", 8000, 1, "PCM_16"),
        ("a.wav", 48_000, 2, "PCM_24"),
        ("a.wav", 16_000, 1, "FLOAT"),
        ("a.ogg", 44_100, 1, "VORBIS"),
    ],
)
def test_header_is_what_libsndfile_reads(tmp_path, name, rate, n_channels, subtype):
    path = tmp_path / name
    sf.write(path, np.zeros((1234, n_channels)), rate, subtype=subtype)
    info = sf.info(path)
    assert read_header(str(path)) == (info.frames, info.samplerate, info.channels) == (1234, rate, n_channels)


def test_wav_with_other_chunks_goes_to_libsndfile(tmp_path):
    plain = tmp_path / "a.wav"
    sf.write(plain, np.zeros(100), 16_000)
    data = plain.read_bytes()
    chunk = b"LIST" + (6).to_bytes(4, "little") + b"abcdef"
    (tmp_path / "b.wav").write_bytes(data[:36] + chunk + data[36:])
    assert read_header(str(tmp_path / "b.wav")) == Header(100, 16_000, 1)


def test_flac_that_does_not_state_its_length_goes_to_libsndfile(tmp_path):
    path = tmp_path / "a.flac"
    sf.write(path, np.zeros(5000), 16_000)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the 36 bits of the length
    data[22:26] = b"\0\0\0\0"
    path.write_bytes(data)
    info = sf.info(path)
    assert read_header(str(path)) == (info.frames, 16_000, 1)


def test_cut_wav_has_fewer_samples_than_its_header_says(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, np.zeros(1000), 16_000)
    path.write_bytes(path.read_bytes()[:-600])
    assert read_header(str(path)).n_frames == 700


def test_headers_keep_their_order_and_are_none_for_missing_files(tmp_path):
    paths = []
    for i in range(40):  # enough for several threads
        paths.append(str(tmp_path / f"{i}.wav"))
        if i % 7:
            sf.write(paths[-1], np.zeros(100 + i), 16_000)
    lengths = [header and header.n_frames for header in read_headers(paths)]
    assert lengths == [100 + i if i % 7 else None for i in range(40)]
    assert [header and header.n_frames for header in read_headers(paths[:8])] == lengths[:8]


def test_header_of_no_audio_and_of_no_file(tmp_path):
    path = tmp_path / "a.flac"
    path.write_bytes(b"fLaC but no music")
    with pytest.raises(StabError, match=r"cannot read the audio file .*a\.flac"):
        read_header(str(path))
    with pytest.raises(StabError, match=r"cannot open the audio file .*b\.flac: No such file"):
        read_header(str(tmp_path / "b.flac"))


def test_check_header():
    check_header("a.wav", Header(1, 16_000, 2), 16_000, mono=False)
    with pytest.raises(StabError, match=r"a\.wav must be sampled at 16000 Hz, got 44100 Hz"):
        check_header("a.wav", Header(1, 44_100, 1), 16_000, mono=True)
    with pytest.raises(StabError, match=r"a\.wav must have 1 channel, got 2"):
        check_header("a.wav", Header(1, 16_000, 2), 16_000, mono=True)
    with pytest.raises(StabError, match=r"a\.wav must hold audio, got 0 samples"):
        check_header("a.wav", Header(0, 16_000, 1), 16_000, mono=True)


@pytest.mark.parametrize("name", ["a.flac", "a.wav"])
def test_samples_are_slices_of_the_first_channel(tmp_path, name):
    path = tmp_path / name
    sf.write(path, np.random.default_rng(0).uniform(-1, 1, (20_000, 2)), 16_000)
    whole = sf.read(path, dtype="float32")[0][:, 0]
    for start, stop in ((0, 20_000), (0, 10), (4095, 4097), (12_345, 19_999)):
        part = read_samples(str(path), start, stop)
        assert part.dtype == np.float32
        np.testing.assert_array_equal(part, whole[start:stop])


def test_seeking_in_real_speech_is_exact(shared_data):
    for path in sorted((shared_data / "LibriSpeech").rglob("*.flac"))[::60]:
        whole = sf.read(path, dtype="float32")[0]
        start = len(whole) // 3 + 1
        np.testing.assert_array_equal(read_samples(str(path), start, start + 5000), whole[start : start + 5000])


def test_truncated_flac_is_named_wherever_the_cut_is_met(tmp_path):
    path = tmp_path / "cut.flac"
    sf.write(path, np.random.default_rng(0).uniform(-1, 1, 40_000), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert read_header(str(path)).n_frames == 40_000
    assert len(read_samples(str(path), 0, 5000)) == 5000  # before the cut
    for start, stop in ((0, 40_000), (30_000, 31_000)):
        with pytest.raises(StabError, match=r"cut\.flac"):
            read_samples(str(path), start, stop)


def test_samples_beyond_the_end_and_of_no_file(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, np.zeros(100), 16_000)
    with pytest.raises(StabError, match=r"a\.wav is truncated: wanted samples 40 to 120, got 60 of them"):
        read_samples(str(path), 40, 120)
    with pytest.raises(StabError, match=r"cannot decode .*b\.wav .*: No such file"):
        read_samples(str(tmp_path / "b.wav"), 0, 1)


def test_a_name_that_no_table_can_hold_is_named(tmp_path):
    with pytest.raises(StabError, match=r"a file of a corpus must have a name in UTF-8, got '.*udcff.wav': rename it"):
        read_headers([f"{tmp_path}/\udcff.wav"])
