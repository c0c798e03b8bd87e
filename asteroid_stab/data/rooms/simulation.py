"""Impulse responses of a room, by the image sources of pyroomacoustics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from asteroid_stab.data.rooms.geometry import SOUND_SPEED, Room
from asteroid_stab.required import needed

FILTER_LENGTH = 81
"""Samples of the filter that pyroomacoustics puts a reflection between two samples with; half of them come before."""


def simulator() -> Any:
    """Returns pyroomacoustics.

    Raises:
        StabError: it is not installed.
    """
    return needed("pyroomacoustics", "data=rooms", "rooms")


def direct_length(distance_m: float, sample_rate: int) -> int:
    """Returns the samples that the direct sound from a distance takes, from the time when it is made.

    Example:
        >>> direct_length(3.43, 8000)
        162
    """
    return math.ceil(distance_m / SOUND_SPEED * sample_rate) + FILTER_LENGTH + 1


def impulse_responses(room: Room, sample_rate: int, reflected: bool = True) -> list[list[np.ndarray]]:
    """Returns the impulse response from each position to each microphone: ``[J][C]`` of any lengths, float64.

    A response starts half a filter (40 samples) before the time when the sound is made. Walls are alike and reflect
    all frequencies alike; reflections are computed up to the order at which pyroomacoustics has the whole reverberation
    time.

    Args:
        room: the room.
        sample_rate: in Hz.
        reflected: with reflections; False gives the direct sound alone.

    Raises:
        StabError: pyroomacoustics is not installed.

    References:
        Scheibler, Bezzam, Dokmanić, "Pyroomacoustics: A Python package for audio room simulation and array processing
        algorithms", ICASSP 2018. Allen and Berkley, "Image method for efficiently simulating small-room acoustics",
        1979.
    """
    library = simulator()
    absorption, order = library.inverse_sabine(room.rt60_s, room.size, c=SOUND_SPEED)
    walls = library.Material(absorption)
    box = library.ShoeBox(room.size, fs=sample_rate, materials=walls, max_order=order if reflected else 0)
    for position in room.positions:
        box.add_source(position)
    box.add_microphone_array(room.mics.T)
    box.compute_rir()
    return [[box.rir[mic][position] for mic in range(len(room.mics))] for position in range(len(room.positions))]
