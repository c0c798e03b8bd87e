"""The packed cache: what it loses, when it is made again, and that half of one is never used."""

import errno
import logging
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf

from asteroid_stab.audio import packed as cache
from asteroid_stab.audio.checksums import sums_file
from asteroid_stab.audio.packed import PackedTracks
from asteroid_stab.audio.tracks import Tracks
from asteroid_stab.errors import StabError

LENGTHS = (9000, 12_001, 5000)


def make_tracks(root: Path, rate: int = 8000, **options) -> Tracks:
    names = [f"{i}.flac" for i in range(len(LENGTHS))]
    rng = np.random.default_rng(0)
    for i, name in enumerate(names):
        if not (root / name).exists():
            scale = (0.9, 0.003, 0.0)[i]  # loud, soft, silent
            sf.write(root / name, scale * rng.uniform(-1, 1, LENGTHS[i]), 16_000, **options)
    return Tracks([str(root)] * 3, names, LENGTHS, LENGTHS, rate)


def read(reader, track, start, stop, gain=1.0):
    out = np.empty(stop - start, np.float32)
    reader.read_into(track, start, stop, gain, out)
    return out


def test_packed_samples_are_within_half_a_step_of_full_scale(tmp_path):
    tracks = make_tracks(tmp_path)
    packed = PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    for track, length in enumerate(tracks.lengths):
        whole = tracks.read(track, 0, length)
        peak = float(np.abs(whole).max())
        assert peak <= packed.peak(track) <= max(peak * 1.0001, 1.0)
        gain = 0.9 / peak if peak else 1.0
        for start, stop in ((0, length), (17, 1234)):
            error = np.abs(read(packed, track, start, stop, gain) - gain * whole[start:stop]).max()
            assert error <= 0.9 * 0.505 / 32_767  # half a step, and what float32 adds


def test_a_mixture_is_within_one_step_of_16_bits(tmp_path, speech, noise, write_list):
    from asteroid_stab.data import LibriSpeechCorpus

    path = str(write_list(tmp_path / "l.csv", n_mixtures=8, gains=(0.2, 0.7)))
    sets = [
        LibriSpeechCorpus(str(speech), str(noise), test_list=path, task="sep_noisy", mode="max", cache=packed).dataset(
            "test"
        )
        for packed in (None, str(tmp_path / "packed"))
    ]
    worst = 0.0
    for item in range(8):
        (mixture, sources, _), (close, parts, _) = sets[0][item], sets[1][item]
        worst = max(worst, float((mixture - close).abs().max()), float((sources - parts).abs().max()))
    assert 0.1 / 32_768 < worst <= 1 / 32_768


def test_speech_that_is_not_resampled_loses_nothing(tmp_path):
    tracks = make_tracks(tmp_path, rate=16_000)
    sf.write(tmp_path / "0.flac", np.array([-1.0, 1.0, 0.5] * 3000), 16_000)  # the very ends of the range
    packed = PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    for track, length in enumerate(tracks.lengths):
        np.testing.assert_array_equal(read(packed, track, 0, length), tracks.read(track, 0, length))
    assert read(packed, 0, 0, 2).tolist() == [-1.0, 32_767 / 32_768]


def test_a_cache_is_made_once(tmp_path, monkeypatch):
    PackedTracks.open_or_pack(make_tracks(tmp_path), tmp_path / "packed")
    monkeypatch.setattr(Tracks, "read", None)  # decoding again would fail
    packed = PackedTracks.open_or_pack(make_tracks(tmp_path), tmp_path / "packed")
    assert len(list((tmp_path / "packed").glob("*.pack"))) == 1
    assert packed.scales.shape == (3,)


def test_other_tracks_have_a_cache_of_their_own(tmp_path):
    for rate in (8000, 16_000):
        PackedTracks.open_or_pack(make_tracks(tmp_path, rate), tmp_path / "packed")
    assert len(list((tmp_path / "packed").glob("*.pack"))) == 2


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: os.truncate(path, path.stat().st_size - 2), "must have"),
        (lambda path: os.truncate(path, 0), "must have"),
        (lambda path: path.write_bytes(b"STABPK00" + path.read_bytes()[8:]), "is of another version"),
    ],
)
def test_a_damaged_cache_is_made_again(tmp_path, caplog, spoil, reason):
    tracks = make_tracks(tmp_path)
    PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    (path,) = (tmp_path / "packed").glob("*.pack")
    whole = path.read_bytes()
    spoil(path)
    with caplog.at_level(logging.WARNING):
        PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    assert f"packing {path} again: it {reason}" in caplog.text
    assert path.read_bytes() == whole


def test_audio_that_changed_is_packed_again(tmp_path, caplog):
    tracks = make_tracks(tmp_path)
    PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    sf.write(tmp_path / "1.flac", np.full(LENGTHS[1], 0.25), 16_000)
    with caplog.at_level(logging.WARNING):
        packed = PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    assert "is older than the audio files" in caplog.text
    np.testing.assert_allclose(read(packed, 1, 1000, 2000), 0.25, atol=1e-4)


def test_a_new_time_of_change_is_enough(tmp_path, caplog):
    tracks = make_tracks(tmp_path)
    PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    os.utime(tmp_path / "1.flac", ns=(0, 1))
    with caplog.at_level(logging.WARNING):
        PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    assert "is older than the audio files" in caplog.text


def test_workers_get_the_path_and_map_the_file_themselves(tmp_path):
    packed = PackedTracks.open_or_pack(make_tracks(tmp_path), tmp_path / "packed")
    data = pickle.dumps(packed)
    assert len(data) < 1000  # the samples do not travel
    np.testing.assert_array_equal(read(pickle.loads(data), 0, 5, 50), read(packed, 0, 5, 50))


def test_audio_that_cannot_be_decoded_leaves_no_cache(tmp_path):
    tracks = make_tracks(tmp_path)
    path = tmp_path / "1.flac"
    path.write_bytes(path.read_bytes()[:8000])
    with pytest.raises(StabError, match=r"1\.flac"):
        PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    tracks = make_tracks(tmp_path)

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(cache.os, "pwrite", full)
        with pytest.raises(StabError, match=r"cannot write the packed cache .*: No space left on device"):
            PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(StabError, match=r"the packed cache must have 0\.0 GB in .*packed, got 0\.0 GB"):
        PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_writes_that_the_system_takes_in_parts_are_completed(tmp_path, monkeypatch):
    tracks, pwrite = make_tracks(tmp_path), os.pwrite
    monkeypatch.setattr(cache.os, "pwrite", lambda file, data, offset: pwrite(file, data[:1000], offset))
    PackedTracks.open_or_pack(tracks, tmp_path / "parts")
    monkeypatch.undo()
    PackedTracks.open_or_pack(tracks, tmp_path / "whole")
    (parts,), (whole,) = ((tmp_path / name).glob("*.pack") for name in ("parts", "whole"))
    assert parts.read_bytes() == whole.read_bytes()


def test_all_damaged_tracks_are_named_and_no_file_is_left(tmp_path):
    tracks = make_tracks(tmp_path)
    for name in ("0.flac", "1.flac"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:2000])
    with pytest.raises(StabError, match=r"2 of 3 tracks cannot be packed: .*0\.flac.*1\.flac"):
        PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_samples_that_are_not_finite_stay_so_and_spoil_no_other_track(tmp_path):
    for i, value in enumerate((0.1, np.nan, np.inf)):
        signal = np.full(LENGTHS[i], 0.1)
        signal[7] = value
        sf.write(tmp_path / f"{i}.wav", signal, 8000, "FLOAT")
    tracks = Tracks([str(tmp_path)] * 3, [f"{i}.wav" for i in range(3)], LENGTHS, LENGTHS, 8000, [8000] * 3)
    packed = PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    np.testing.assert_allclose(read(packed, 0, 0, 9000), 0.1, atol=1e-5)
    for track in (1, 2):
        assert not np.isfinite(read(packed, track, 0, 100)).any()


@pytest.mark.parametrize("pickled", [False, True])
def test_a_cache_that_is_cut_off_in_use_raises_an_error(tmp_path, pickled):
    """A mapped file would end the process by SIGBUS."""
    tracks = make_tracks(tmp_path)
    packed = PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    before = read(packed, 0, 0, 100)
    packed = pickle.loads(pickle.dumps(packed)) if pickled else packed
    os.truncate(packed.path, packed.path.stat().st_size - 2 * tracks.lengths[2] - 2)
    np.testing.assert_array_equal(read(packed, 0, 0, 100), before)
    for track in (1, 2):
        with pytest.raises(
            StabError, match=r"\.pack was cut off while it was in use: it ends at byte \d+, 2 more|\d+ more"
        ):
            read(packed, track, 0, tracks.lengths[track])


def test_of_two_that_need_the_same_copy_one_packs(tmp_path, monkeypatch):
    tracks, calls, plain = make_tracks(tmp_path), [], cache._pack

    def slow(*args):
        calls.append(args)
        time.sleep(0.3)
        plain(*args)

    monkeypatch.setattr(cache, "_pack", slow)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: PackedTracks.open_or_pack(tracks, tmp_path / "packed"), range(2)))
    assert len(calls) == 1
    assert found[0].path == found[1].path
    assert sorted((tmp_path / "packed").iterdir()) == [found[0].path, sums_file(found[0].path)]


def killed_at(tracks, n_read, error=KeyboardInterrupt):
    """Reads of the tracks, of which one after ``n_read`` ends the process; gives the numbers of the tracks read."""
    plain, seen = tracks.read, []

    def read(track, *args):
        if len(seen) == n_read:
            raise error
        seen.append(track)
        return plain(track, *args)

    tracks.read = read
    return seen


@pytest.fixture
def one_by_one(monkeypatch):
    monkeypatch.setattr(cache, "_KEPT_TOGETHER", 1)
    monkeypatch.setattr(cache.os, "cpu_count", lambda: 1)


@pytest.mark.parametrize("n_read", [1, 2])
def test_packing_goes_on_after_a_kill(tmp_path, caplog, one_by_one, n_read):
    tracks, again = make_tracks(tmp_path), make_tracks(tmp_path)
    killed_at(tracks, n_read)
    with pytest.raises(KeyboardInterrupt):
        PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    (part,) = (tmp_path / "packed").iterdir()
    assert part.name.endswith(".pack.part")
    seen = killed_at(again, 3)
    with caplog.at_level(logging.WARNING):
        packed = PackedTracks.open_or_pack(again, tmp_path / "packed")
    assert seen == list(range(n_read, 3))
    assert f"packing 3 tracks into {packed.path} (0.00 GB), of which {n_read} are packed" in caplog.text
    assert sorted((tmp_path / "packed").iterdir()) == [packed.path, sums_file(packed.path)]
    whole = PackedTracks.open_or_pack(make_tracks(tmp_path), tmp_path / "whole")
    assert packed.path.read_bytes() == whole.path.read_bytes()


def test_a_kill_before_the_last_step_leaves_all_tracks(tmp_path, monkeypatch, one_by_one):
    tracks, again = make_tracks(tmp_path), make_tracks(tmp_path)

    def killed(*args):
        raise KeyboardInterrupt

    replace = os.replace
    monkeypatch.setattr(cache.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    monkeypatch.setattr(cache.os, "replace", replace)
    seen = killed_at(again, 3)
    packed = PackedTracks.open_or_pack(again, tmp_path / "packed")
    assert seen == []
    assert sorted((tmp_path / "packed").iterdir()) == [packed.path, sums_file(packed.path)]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda part: os.truncate(part, part.stat().st_size - 2),
        lambda part: part.write_bytes(b"STABPK00" + part.read_bytes()[8:]),
        lambda part: os.utime(part.parent.parent / "1.flac", ns=(0, 1)),
    ],
)
def test_what_a_kill_left_of_other_audio_is_packed_again(tmp_path, one_by_one, spoil):
    tracks, again = make_tracks(tmp_path), make_tracks(tmp_path)
    killed_at(tracks, 2)
    with pytest.raises(KeyboardInterrupt):
        PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    spoil(next((tmp_path / "packed").iterdir()))
    seen = killed_at(again, 3)
    packed = PackedTracks.open_or_pack(again, tmp_path / "packed")
    assert seen == [0, 1, 2]
    assert sorted((tmp_path / "packed").iterdir()) == [packed.path, sums_file(packed.path)]


def test_a_disk_that_fills_up_keeps_what_is_packed(tmp_path, monkeypatch, one_by_one):
    tracks, again = make_tracks(tmp_path), make_tracks(tmp_path)
    killed_at(tracks, 2, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(StabError, match=r"cannot write the packed cache .*: No space left on device"):
        PackedTracks.open_or_pack(tracks, tmp_path / "packed")
    seen = killed_at(again, 3)
    PackedTracks.open_or_pack(again, tmp_path / "packed")
    assert seen == [2]


def test_a_cache_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StabError, match="cannot write the packed cache .*file/packed/.*pack: Not a directory"):
        PackedTracks.open_or_pack(make_tracks(tmp_path), tmp_path / "file" / "packed")


def test_a_damaged_one_is_refused_until_it_is_deleted(tmp_path):
    tracks, folder = make_tracks(tmp_path), tmp_path / "packed"
    whole = read(PackedTracks.open_or_pack(tracks, folder), 1, 0, 3000)
    path = next(folder.glob("*.pack"))
    data = bytearray(path.read_bytes())
    data[-2 * tracks.lengths[2] - 100] ^= 64  # within the second of three tracks
    path.write_bytes(data)
    with pytest.raises(StabError, match="is damaged: other samples than were packed, of .*1.flac; delete"):
        PackedTracks.open_or_pack(tracks, folder)
    path.unlink()
    assert np.array_equal(read(PackedTracks.open_or_pack(tracks, folder), 1, 0, 3000), whole)
