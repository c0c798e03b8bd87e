"""Impulse responses: the reverberation time that was asked for, and the direct sound at its time and level."""

import importlib
import sys

import numpy as np
import pytest

from asteroid_stab.data.rooms import simulation
from asteroid_stab.data.rooms.geometry import SOUND_SPEED, draw_room
from asteroid_stab.data.rooms.simulation import direct_length, impulse_responses, simulator
from asteroid_stab.errors import StabError


def decay_time(response, rate):
    """Reverberation time by Schroeder's integral: the line through its decay from -5 to -25 dB."""
    left = np.cumsum(response[::-1] ** 2)[::-1]
    decay = 10 * np.log10(left / left[0])
    first, last = np.flatnonzero(decay < -5)[0], np.flatnonzero(decay < -25)[0]
    slope = np.polyfit(np.arange(first, last) / rate, decay[first:last], 1)[0]
    return -60 / slope


@pytest.mark.parametrize(
    ("geometry", "rt60_s", "n_rooms"),
    [
        ("sms_wsj", 0.22, 1),
        ("sms_wsj", 0.3, 1),
        pytest.param("sms_wsj", 0.5, 6, marks=pytest.mark.slow),
        pytest.param("whamr", 0.4, 6, marks=pytest.mark.slow),
    ],
)
def test_the_reverberation_time_is_sabines_within_a_quarter(geometry, rt60_s, n_rooms):
    for seed in range(n_rooms):
        room = draw_room(geometry, 1, 3, (rt60_s, rt60_s), (seed,))
        measured = [decay_time(response, 8000) for (response,) in impulse_responses(room, 8000)]
        assert np.mean(measured) == pytest.approx(rt60_s, rel=0.25)


def test_the_direct_sound_comes_after_its_way_and_gets_weaker_with_it():
    room = draw_room("whamr", 2, 3, (0.25, 0.25), (0,))
    direct = impulse_responses(room, 16_000, reflected=False)
    whole = impulse_responses(room, 16_000)
    for position, distances in enumerate(room.distances()):
        for mic, distance in enumerate(distances):
            response = direct[position][mic]
            assert np.abs(response).argmax() == pytest.approx(40 + distance / SOUND_SPEED * 16_000, abs=1)
            assert np.linalg.norm(response) * distance == pytest.approx(1, abs=0.02)
            assert len(response) <= direct_length(distance, 16_000)
            assert np.linalg.norm(whole[position][mic]) > 1.02 * np.linalg.norm(response)


def test_a_missing_package_is_named_when_it_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    importlib.reload(simulation)  # an import of ours is none of it
    with pytest.raises(StabError, match=r"data=rooms needs pyroomacoustics .*: pip install 'asteroid-stab\[rooms\]'"):
        simulator()
