"""Utterances that are decoded once, and what happens where the disk has no room for them."""

import errno
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from asteroid_stab.audio import positions
from asteroid_stab.data.lists import decoded
from asteroid_stab.data.lists.decoded import DecodedSpeech
from asteroid_stab.data.lists.speech_folder import find_speech


@pytest.fixture
def utterances(speech):
    return find_speech(speech, ["train-clean-100"])


@pytest.fixture
def n_decoded(monkeypatch):
    """Numbers of the calls that decode; nothing is kept in memory."""
    calls, plain = [], decoded.read_samples
    monkeypatch.setattr(decoded, "_N_IN_MEMORY", 0)
    monkeypatch.setattr(decoded, "read_samples", lambda *args: calls.append(args) or plain(*args))
    return calls


USED = [4, 0, 7]


def rounded(speech, utterance):
    return np.rint(speech.decode(utterance) * 32_768)


def test_each_is_decoded_once_and_the_file_has_no_name(speech, utterances, n_decoded, tmp_path):
    made = DecodedSpeech(speech, utterances, USED, tmp_path)
    with ThreadPoolExecutor(3) as pool:
        first = list(pool.map(made.integers, USED))
        assert len(n_decoded) == 3
        again = list(pool.map(made.integers, [*USED, *USED]))
    assert len(n_decoded) == 3
    assert not [*tmp_path.iterdir()]
    assert made.n_bytes == sum(signal.nbytes for signal in first)
    for utterance, one, other in zip(USED, first, again, strict=False):
        np.testing.assert_array_equal(one, rounded(made, utterance))
        np.testing.assert_array_equal(other, one)
    made.close()
    np.testing.assert_array_equal(made.integers(7), first[2])


def test_a_folder_that_is_not_there_yet_is_not_made(speech, utterances, n_decoded, tmp_path):
    made = DecodedSpeech(speech, utterances, USED, tmp_path / "lists" / "here")
    made.integers(4), made.integers(4)
    assert len(n_decoded) == 1
    assert not [*tmp_path.iterdir()]
    made.close()


def test_without_room_it_is_said_once(speech, utterances, n_decoded, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**9))
    made = DecodedSpeech(speech, utterances, USED, tmp_path)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            np.testing.assert_array_equal(made.integers(4), made.integers(4))
    assert len(n_decoded) == 4
    wanted = f"decodes utterances again for each mixture: to keep them, {tmp_path} must have room for 0.0 GB and 1.1 GB"
    assert caplog.text.count(wanted) == 1
    assert "to spare, got 1.0 GB" in caplog.text
    made.close()


def test_a_disk_that_fills_up_spoils_nothing(speech, utterances, n_decoded, tmp_path, monkeypatch, caplog):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    made = DecodedSpeech(speech, utterances, USED, tmp_path)
    kept = made.integers(0)
    with monkeypatch.context() as patch:
        patch.setattr(decoded.os, "pwrite", full)
        signal = made.integers(4)
    assert "decoded speech is not kept in" in caplog.text
    assert "No space left on device" in caplog.text
    np.testing.assert_array_equal(signal, rounded(made, 4))
    np.testing.assert_array_equal(made.integers(0), kept)
    np.testing.assert_array_equal(made.integers(4), signal)
    made.close()


def test_what_the_system_takes_in_parts_is_whole(speech, utterances, n_decoded, tmp_path, monkeypatch):
    made, pwrite = DecodedSpeech(speech, utterances, USED, tmp_path), os.pwrite
    monkeypatch.setattr(positions.os, "pwrite", lambda file, data, place: pwrite(file, data[:1000], place))
    first, second = made.integers(4), made.integers(4)
    assert len(n_decoded) == 1
    np.testing.assert_array_equal(first, second)
    made.close()
