"""The bank of rooms: pyroomacoustics' own responses, made once and whole, and gone on with after a kill."""

import errno
import logging
import os
import pickle
import subprocess
import sys
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest

from asteroid_stab.audio.checksums import sums_file
from asteroid_stab.data.rooms import bank as module
from asteroid_stab.data.rooms.bank import RoomBank, RoomPlan
from asteroid_stab.errors import StabError

PLAN = RoomPlan("whamr", 2, 2, 2, 0.2, 0.25, 8000, (0, 0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    RoomBank.open_or_make(PLAN, folder)
    return folder


def test_it_equals_pyroomacoustics_called_directly(folder):
    import pyroomacoustics

    bank = pickle.loads(pickle.dumps(RoomBank.open_or_make(PLAN, folder)))
    for number in range(2):
        room = PLAN.room(number)
        absorption, order = pyroomacoustics.inverse_sabine(room.rt60_s, room.size)
        for orders in (0, order):
            box = pyroomacoustics.ShoeBox(
                room.size, fs=8000, materials=pyroomacoustics.Material(absorption), max_order=orders
            )
            for position in room.positions:
                box.add_source(position)
            box.add_microphone_array(room.mics.T)
            box.compute_rir()
            for j in range(2):
                found = bank.read(number, j)
                np.testing.assert_allclose(found.distances, room.distances()[j], rtol=1e-6)
                kept = found.whole if orders else found.direct
                for mic in range(2):
                    wanted = box.rir[mic][j][: kept.shape[1]]
                    np.testing.assert_allclose(kept[mic, : len(wanted)], wanted, atol=1e-6)
                    assert not kept[mic, len(wanted) :].any()
                    assert np.linalg.norm(box.rir[mic][j][kept.shape[1] :]) < 1e-2 * np.linalg.norm(wanted)


def test_rooms_do_not_depend_on_their_number(folder, tmp_path):
    few = RoomBank.open_or_make(PLAN._replace(n_rooms=1), tmp_path)
    assert np.array_equal(few.read(0, 1).whole, RoomBank.open_or_make(PLAN, folder).read(0, 1).whole)


def test_a_bank_that_is_there_needs_no_package(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    RoomBank.open_or_make(PLAN, folder)
    with pytest.raises(StabError, match=r"needs pyroomacoustics .* pip install 'asteroid-stab\[rooms\]'"):
        RoomBank.open_or_make(PLAN, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def copied(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path / PLAN.name


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: os.truncate(path, path.stat().st_size - 4), f"must have {PLAN.size} bytes, has {PLAN.size - 4}"),
        (lambda path: path.write_bytes(b"STABRM00" + path.read_bytes()[8:]), "is of another version"),
    ],
)
def test_one_that_cannot_be_used_is_made_again(folder, tmp_path, caplog, spoil, reason):
    path = copied(folder, tmp_path)
    whole = path.read_bytes()
    spoil(path)
    with caplog.at_level(logging.WARNING):
        RoomBank.open_or_make(PLAN, tmp_path)
    assert f"simulating {path} again: it {reason}" in caplog.text
    assert f"simulating 2 rooms into {path} ({PLAN.size / 1e6:.1f} MB)" in caplog.text
    assert path.read_bytes() == whole


def test_damaged_samples_are_refused(folder, tmp_path):
    path = copied(folder, tmp_path)
    with open(path, "r+b") as file:
        file.seek(PLAN.offsets()[1] + 100)
        file.write(b"\x12\x34")
    with pytest.raises(StabError, match=r"is damaged: other samples than were packed, of room 1; delete .*\.bank, and"):
        RoomBank.open_or_make(PLAN, tmp_path)
    sums_file(path).write_bytes(b"x")
    with pytest.raises(StabError, match=r"\.sums is damaged: delete"):
        RoomBank.open_or_make(PLAN, tmp_path)


def test_one_that_was_cut_off_in_use_is_named(folder, tmp_path):
    path = copied(folder, tmp_path)
    bank = RoomBank.open_or_make(PLAN, tmp_path)
    os.truncate(path, 1000)
    with pytest.raises(StabError, match=r"was cut off while it was in use"):
        bank.read(1, 0)


def test_a_simulation_that_was_killed_goes_on(folder, tmp_path, monkeypatch, caplog):
    wanted = (folder / PLAN.name).read_bytes()
    monkeypatch.setattr(module, "_KEPT_TOGETHER", 1)
    simulated = module._simulated

    def killed(plan, room):
        if np.array_equal(room.size, plan.room(1).size):
            raise KeyboardInterrupt
        return simulated(plan, room)

    monkeypatch.setattr(module, "_simulated", killed)
    with pytest.raises(KeyboardInterrupt):
        RoomBank.open_or_make(PLAN, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [f"{PLAN.name}.part"]
    done = []
    monkeypatch.setattr(module, "_simulated", lambda plan, room: done.append(room) or simulated(plan, room))
    with caplog.at_level(logging.WARNING):
        RoomBank.open_or_make(PLAN, tmp_path)
    assert len(done) == 1
    assert "of which 1 are done" in caplog.text
    assert (tmp_path / PLAN.name).read_bytes() == wanted


def test_an_unfinished_file_of_another_plan_is_not_gone_on_with(folder, tmp_path):
    part = tmp_path / f"{PLAN.name}.part"
    part.write_bytes(b"STABROOM" + b"\1" * (PLAN.size - 8))
    RoomBank.open_or_make(PLAN, tmp_path)
    assert (tmp_path / PLAN.name).read_bytes() == (folder / PLAN.name).read_bytes()


def test_a_full_disk_is_seen_before(tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10))
    with pytest.raises(StabError, match=r"the bank of rooms must have 0\.0 GB in .*, got 0\.0 GB; cache_dir or"):
        RoomBank.open_or_make(PLAN, tmp_path)


def assert_gone_on_with(folder, small, monkeypatch, caplog):
    """A bank that could not be written is not there; with room again, it is made of what was kept."""
    assert [file.name for file in small.iterdir()] == [f"{PLAN.name}.part"]
    monkeypatch.undo()
    with caplog.at_level(logging.WARNING):
        RoomBank.open_or_make(PLAN, small)
    assert "of which 1 are done" in caplog.text
    assert (small / PLAN.name).read_bytes() == (folder / PLAN.name).read_bytes()


def test_a_disk_that_is_full_at_the_last_room_leaves_no_bank(folder, tmp_path, monkeypatch, caplog):
    write = module.write_at

    def full(descriptor, data, offset):
        if offset == PLAN.offsets()[1]:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(descriptor, data, offset)

    monkeypatch.setattr(module, "_KEPT_TOGETHER", 1)
    monkeypatch.setattr(module, "write_at", full)
    with pytest.raises(
        StabError, match=r"cannot write the bank of rooms .*\.bank: No space left on device; cache_dir or"
    ):
        RoomBank.open_or_make(PLAN, tmp_path)
    assert_gone_on_with(folder, tmp_path, monkeypatch, caplog)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 300 kB, where this process may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk can be mounted here: {error}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_real_disk_that_others_fill_leaves_no_bank(folder, small_disk, monkeypatch, caplog):
    simulated, filler = module._simulated, small_disk / "filler"

    def beside_others(plan, room):
        if np.array_equal(room.size, plan.room(1).size):
            with suppress(OSError), open(filler, "wb", buffering=0) as file:
                while True:
                    file.write(bytes(1024))
        return simulated(plan, room)

    monkeypatch.setattr(module, "_KEPT_TOGETHER", 1)
    monkeypatch.setattr(module, "_simulated", beside_others)
    with pytest.raises(
        StabError, match=r"cannot write the bank of rooms .*\.bank: No space left on device; cache_dir or"
    ):
        RoomBank.open_or_make(PLAN, small_disk)
    filler.unlink()
    assert_gone_on_with(folder, small_disk, monkeypatch, caplog)


TOGETHER = """
import sys, time
from pathlib import Path
from asteroid_stab.data.rooms import bank
from asteroid_stab.data.rooms.simulation import simulator

place, name = Path(sys.argv[1]), sys.argv[2]
simulator()
simulated, done = bank._simulated, []
bank._simulated = lambda plan, room: done.append(time.sleep(0.2)) or simulated(plan, room)
(place / f"{name}.ready").touch()
while len([*place.glob("*.ready")]) < 2:
    time.sleep(0.001)
plan = bank.RoomPlan("whamr", 2, 2, 2, 0.2, 0.25, 8000, (0, 0))
found = bank.RoomBank.open_or_make(plan, place / "rooms")
print(len(done), float(found.read(1, 1).whole.sum()))
"""


def test_of_two_processes_at_once_one_simulates_and_both_read(folder, tmp_path):
    both = [
        subprocess.Popen([sys.executable, "-c", TOGETHER, str(tmp_path), name], stdout=subprocess.PIPE, text=True)
        for name in "ab"
    ]
    counts, sums = zip(*(process.communicate(timeout=300)[0].split() for process in both), strict=True)
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(counts) == ["0", "2"]
    assert {*sums} == {str(float(RoomBank.open_or_make(PLAN, folder).read(1, 1).whole.sum()))}
    assert {file.name for file in (tmp_path / "rooms").iterdir()} == {PLAN.name, sums_file(tmp_path / PLAN.name).name}
    assert (tmp_path / "rooms" / PLAN.name).read_bytes() == (folder / PLAN.name).read_bytes()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StabError, match=r"cannot write the bank of rooms .*file/.*bank: .*; cache_dir or ASTEROID"):
        RoomBank.open_or_make(PLAN, tmp_path / "file")


def test_a_bank_that_cannot_be_read_is_named(tmp_path):
    def refused(*given):
        raise PermissionError(13, "Permission denied")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_defect", refused)  # a folder of another user
        with pytest.raises(StabError, match=r"bank: Permission denied; cache_dir or ASTEROID_STAB_CACHE names another"):
            RoomBank.open_or_make(PLAN, tmp_path)
