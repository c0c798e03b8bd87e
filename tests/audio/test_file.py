"""Headers and samples of audio files, against libsndfile."""

import tracemalloc

import numpy as np
import pytest
import soundfile as sf

from asteroid_stab.audio import file, stream
from asteroid_stab.audio.file import (
    Header,
    check_header,
    probe_headers,
    read_channels,
    read_header,
    read_headers,
    read_samples,
)
from asteroid_stab.audio.stream import AudioInput
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


def test_flac_that_does_not_state_its_length_is_refused(tmp_path):
    path = tmp_path / "a.flac"
    sf.write(path, np.zeros(5000), 16_000)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the 36 bits of the length
    data[22:26] = b"\0\0\0\0"
    path.write_bytes(data)
    assert verdict(path) == "its header states no length"


def verdict(path):
    """Why the reader of corpora and the reader of recordings refuse a file; "whole" if both take it as the same."""
    (header,) = probe_headers([str(path)])
    if isinstance(header, StabError):
        with pytest.raises(StabError) as refused:
            AudioInput(path, 16_000, channels=[0], resample=True)
        assert str(header) == f"cannot use the audio file {path}: {refused.value}"
        return str(refused.value)
    with AudioInput(path, header.sample_rate, channels=[0]) as audio:
        assert header.n_frames == audio.n_samples == sum(map(len, audio.blocks()))
    assert len(read_samples(str(path), 0, header.n_frames)) == header.n_frames
    return "whole"


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF"])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_file_that_is_cut_off_is_refused_by_all_readers(tmp_path, kind, subtype):
    path = tmp_path / "a.wav"
    sf.write(path, 0.1 * np.random.default_rng(0).standard_normal(3000), 16_000, subtype, format=kind)
    assert verdict(path) == "whole"
    path.write_bytes(path.read_bytes()[:-1002])
    assert verdict(path).startswith("truncated: its header states ")


@pytest.mark.parametrize("mark", [2**32 - 1, 2**32 - 37, 2**31 - 1, 2**31, 0x7FFFF000])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_wav_whose_writer_left_the_length_open_is_whole(tmp_path, mark, subtype):
    """ffmpeg, sox and arecord state such lengths where they write to a pipe."""
    path = tmp_path / "a.wav"
    sf.write(path, 0.1 * np.random.default_rng(0).standard_normal(3000), 16_000, subtype)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = data[4:8] = mark.to_bytes(4, "little")
    path.write_bytes(data)
    assert verdict(path) == "whole"
    assert read_header(str(path)).n_frames == 3000


@pytest.mark.parametrize("rate", [0, 1, 999, 768_001, 43_000_000, 2**31 - 1])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_rates_that_no_recording_has_are_refused(tmp_path, rate, subtype):
    path = tmp_path / "a.wav"
    sf.write(path, np.zeros(100), 16_000, subtype)
    data = bytearray(path.read_bytes())
    data[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(StabError, match=rf"header states {rate} Hz, a sample rate must be from 1000 to 768000 Hz|read"):
        read_header(str(path))
    with pytest.raises(StabError, match=rf"header states {rate} Hz|no readable audio"):
        AudioInput(path, 16_000, resample=True)


def test_a_flac_that_states_a_length_beyond_all_memory_is_read_to_its_end_only(tmp_path):
    path = tmp_path / "a.flac"
    sf.write(path, 0.1 * np.random.default_rng(0).standard_normal(5000), 16_000)
    data = bytearray(path.read_bytes())
    data[21] |= 0x0F
    data[22:26] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert read_header(str(path)).n_frames == 2**36 - 1  # of which the float32 samples would be 256 GiB
    tracemalloc.start()
    with pytest.raises(StabError, match=rf"a\.flac is truncated: wanted samples 0 to {2**36 - 1}, got 5000|damaged"):
        read_samples(str(path), 0, 2**36 - 1)
    assert tracemalloc.get_traced_memory()[1] < 2**27
    tracemalloc.stop()


def test_samples_beyond_one_block_are_joined(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "MOST_VALUES", 2000)
    monkeypatch.setattr(stream, "MOST_VALUES", 2000)
    path = tmp_path / "a.wav"
    sf.write(path, np.random.default_rng(0).uniform(-1, 1, (5001, 2)), 16_000)
    np.testing.assert_array_equal(read_samples(str(path), 1, 5001), sf.read(path, dtype="float32")[0][1:, 0])
    with AudioInput(path, 16_000, channels=[0]) as audio:
        assert [len(block) for block in audio.blocks()] == [1000] * 5 + [1]


def test_all_damaged_files_are_counted(tmp_path):
    paths = [str(tmp_path / f"{i}.wav") for i in range(6)]
    for i, path in enumerate(paths):
        if i % 2:
            (tmp_path / f"{i}.wav").write_text("no audio")
        else:
            sf.write(path, np.zeros(100), 16_000)
    with pytest.raises(StabError, match=r"3 of 6 audio files cannot be used: .*1\.wav.*3\.wav.*5\.wav"):
        read_headers(paths)


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


def test_a_wav_whose_frames_are_not_its_bits_is_read_as_libsndfile_reads_it(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, 0.1 * np.random.default_rng(0).standard_normal(3000), 16_000)
    data = bytearray(path.read_bytes())
    data[34] = 24  # bits a sample, in frames of two bytes
    path.write_bytes(data)
    assert read_header(str(path)).n_frames == sf.info(path).frames == 2000
    assert verdict(path) == "whole"


def test_a_name_that_no_table_can_hold_is_named(tmp_path):
    with pytest.raises(StabError, match=r"a file of a corpus must have a name in UTF-8, got '.*udcff.wav': rename it"):
        read_headers([f"{tmp_path}/\udcff.wav"])


def test_some_channels_in_the_wanted_order(tmp_path):
    signal = np.random.default_rng(0).uniform(-1, 1, (500, 4)).astype(np.float32)
    sf.write(tmp_path / "a.wav", signal, 8000, "FLOAT")
    found = read_channels(str(tmp_path / "a.wav"), 20, 120, [3, 0])
    np.testing.assert_array_equal(found, signal[20:120, [3, 0]].T)
    assert found.flags.c_contiguous
