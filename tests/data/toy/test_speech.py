"""The utterances' cache: the same bytes from any process, made once, mended when damaged."""

import logging
import multiprocessing
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from asteroid_stab.data.toy import speech
from asteroid_stab.data.toy.speech import cache_folder, toy_speech
from asteroid_stab.errors import StabError

MODULE = "asteroid_stab.data.toy.speech"
ARGUMENTS = {"seed": 0, "sample_rate": 8000, "n_utterances": 1}


@pytest.fixture(scope="module")
def made():
    """The session's own file: (path, bytes)."""
    path = toy_speech(**ARGUMENTS)["train"].path
    return path, path.read_bytes()


def copy_of(made, folder):
    path = folder / made[0].name
    path.write_bytes(made[1])
    return path


def test_two_processes_at_once_make_the_same_file_as_this_one(made, tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=toy_speech, kwargs={"cache_dir": tmp_path, **ARGUMENTS}) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == [made[0].name]
    assert (tmp_path / made[0].name).read_bytes() == made[1]


@pytest.mark.slow
def test_a_fresh_interpreter_makes_the_same_file(made, tmp_path):
    code = (
        f"from asteroid_stab.data.toy.speech import toy_speech\ntoy_speech(cache_dir={str(tmp_path)!r}, **{ARGUMENTS})"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert (tmp_path / made[0].name).read_bytes() == made[1]


def test_the_second_time_the_file_is_read_and_not_made(made, tmp_path):
    path = copy_of(made, tmp_path)
    before = path.stat()
    toy_speech(cache_dir=tmp_path, **ARGUMENTS)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda whole: whole[:-1000], "bytes of audio, not"),
        (lambda whole: whole[:-1000] + b"\0" * 1000, "wrong checksum"),
        (lambda whole: b"", "no index"),
        (lambda whole: b"x" + whole, "no index"),
        (lambda whole: b"{}\n" + whole, "no index"),
    ],
    ids=["truncated", "zeroed", "empty", "garbled", "other"],
)
def test_a_damaged_file_is_made_anew_with_a_warning(made, tmp_path, caplog, monkeypatch, damage, reason):
    monkeypatch.setattr(f"{MODULE}._write", lambda path, plan, rate: path.write_bytes(made[1]))
    path = copy_of(made, tmp_path)
    path.write_bytes(damage(made[1]))
    with caplog.at_level(logging.WARNING):
        toy_speech(cache_dir=tmp_path, **ARGUMENTS)
    assert len(caplog.records) == 1
    assert f"{path} is damaged" in caplog.text
    assert reason in caplog.text
    assert path.read_bytes() == made[1]


def test_a_damaged_file_in_use_goes_on_being_read(made, tmp_path):
    """The new file takes the old one's name, not its place on the disk: a running process keeps its own."""
    path = copy_of(made, tmp_path)
    speech = toy_speech(cache_dir=tmp_path, **ARGUMENTS)["valid"]
    first = speech.read(0, 0, 1000)
    other = copy_of(made, tmp_path.parent)
    os.replace(other, path)
    assert np.array_equal(speech.read(0, 0, 1000), first)


@pytest.mark.parametrize("other", [{"seed": 1}, {"sample_rate": 16_000}, {"n_utterances": 2}])
def test_whatever_determines_the_speech_is_in_the_name(made, monkeypatch, tmp_path, other):
    monkeypatch.setattr("asteroid_stab.data.toy.speech._write", lambda path, plan, rate: path.write_bytes(b""))
    with pytest.raises(Exception, match="no index"):
        toy_speech(cache_dir=tmp_path, **{**ARGUMENTS, **other})
    assert [path.name for path in tmp_path.iterdir()] != [made[0].name]


def test_pickles_without_the_audio(made):
    speech = toy_speech(**ARGUMENTS)["train"]
    expected = speech.read(3, 100, 200)
    pickled = pickle.dumps(speech)
    assert len(pickled) < 100_000
    assert np.array_equal(pickle.loads(pickled).read(3, 100, 200), expected)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StabError, match=r"cannot be written to .*file.*cache_dir or ASTEROID_STAB_CACHE"):
        toy_speech(cache_dir=tmp_path / "file", **ARGUMENTS)


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("ASTEROID_STAB_CACHE", str(tmp_path / "env"))
    assert cache_folder(tmp_path / "given") == tmp_path / "given"
    assert cache_folder(None) == tmp_path / "env"
    monkeypatch.delenv("ASTEROID_STAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder(None) == tmp_path / "xdg" / "asteroid-stab"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder(None) == tmp_path / ".cache" / "asteroid-stab"


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(StabError, match=r"pip install 'asteroid-stab\[toy\]'"):
        toy_speech(**ARGUMENTS)


def test_the_digest_is_that_of_the_runs_of_earlier_versions(monkeypatch):
    """It is part of the fingerprint with which a run was begun, so a run would be refused if it changed."""
    monkeypatch.setattr(speech.importlib.metadata, "version", lambda name: "1.0")
    assert speech._digest(speech._plan(0, 2), 8000) == "39078d17f9a0c19a"
