"""Rooms of random size with a circle of microphones and positions for sources, in the ranges of public corpora."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

SOUND_SPEED = 343.0
"""Speed of sound in m/s, as both generators have it."""
_TURN = 2 * math.pi


class Room(NamedTuple):
    """A room in the form of a box, in metres.

    Attributes:
        size: length, width and height.
        mics: places of the microphones, ``[C, 3]``.
        positions: places where a source may be, ``[J, 3]``.
        rt60_s: reverberation time, for which the walls' absorption follows from Sabine's formula.
    """

    size: np.ndarray
    mics: np.ndarray
    positions: np.ndarray
    rt60_s: float

    def distances(self) -> np.ndarray:
        """Returns the distance of each position to each microphone, ``[J, C]``."""
        return np.linalg.norm(self.positions[:, None] - self.mics, axis=-1)


Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Size, microphones and positions of a room."""


class Geometry(NamedTuple):
    """Ranges that rooms are drawn from.

    Attributes:
        draw: size, microphones and positions of a room, from a generator, the number of microphones and of positions.
        low_rt60_s: least reverberation time.
        high_rt60_s: largest reverberation time.
        farthest_m: distance that no position has to a microphone.
    """

    draw: Callable[[np.random.Generator, int, int], Drawn]
    low_rt60_s: float
    high_rt60_s: float
    farthest_m: float


def _circle(angles: np.ndarray, radius: float) -> np.ndarray:
    return np.stack([radius * np.cos(angles), radius * np.sin(angles), np.zeros(len(angles))], 1)


def _evenly(n_mics: int) -> np.ndarray:
    return _TURN * (np.arange(n_mics) - 0.5) / n_mics


def _sms_wsj(
    generator: np.random.Generator, n_mics: int, n_positions: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws a room of SMS-WSJ: about 8 m by 6 m by 3 m, sources 1 to 2 m away at the height of the array."""
    size = np.array([8.0, 6.0, 3.0]) + generator.uniform(-0.2, 0.2, 3)
    centre = np.array([4.0, 3.0, 1.5]) + generator.uniform(-0.2, 0.2, 3)
    tilt_x, tilt_y, turn = generator.uniform(0, [0.01 * _TURN, 0.01 * _TURN, _TURN])
    turned = _circle(_evenly(n_mics), 0.1) @ _rotation(0, tilt_x).T @ _rotation(1, tilt_y).T @ _rotation(2, turn).T
    angles = generator.uniform(0, _TURN, n_positions)
    distances = np.sqrt(generator.uniform(1.0, 4.0, n_positions))  # as many on each square metre of the ring
    return size, centre + turned, centre + _circle(angles, 1.0) * distances[:, None]


def _whamr(generator: np.random.Generator, n_mics: int, n_positions: int) -> Drawn:
    """Draws a room of WHAMR!: 5 to 10 m in both directions, array and sources at the heights of heads."""
    size = generator.uniform([5.0, 5.0, 3.0], [10.0, 10.0, 4.0])
    middle = size[:2] / 2 + generator.uniform(-0.2, 0.2, 2)
    centre = np.array([*middle, generator.uniform(0.9, 1.8)])
    width, turn = generator.uniform([0.15, 0.0], [0.17, _TURN])
    angles = generator.uniform(0, _TURN, n_positions)
    distances = generator.uniform(0.66, 2.0, n_positions)
    positions = centre + _circle(angles, 1.0) * distances[:, None]
    positions[:, 2] = generator.uniform(0.9, 1.8, n_positions)
    return size, centre + _circle(_evenly(n_mics) + turn, width / 2), positions


def _rotation(axis: int, angle: float) -> np.ndarray:
    """Returns the matrix that turns by an angle round an axis."""
    turned = np.eye(3)
    one, other = (axis + 1) % 3, (axis + 2) % 3
    turned[one, one] = turned[other, other] = math.cos(angle)
    turned[one, other], turned[other, one] = -math.sin(angle), math.sin(angle)
    return turned


GEOMETRIES = {
    "sms_wsj": Geometry(_sms_wsj, 0.2, 0.5, 2.0 + 0.1),
    "whamr": Geometry(_whamr, 0.1, 1.0, math.hypot(2.0, 0.9) + 0.085),
}
"""Geometries by name.

``sms_wsj`` is of the generator in https://github.com/fgnt/sms_wsj: room and centre of the array vary by 0.2 m either
way, the array is a circle of 10 cm radius that is turned at random and tilted by at most 3.6 degrees. ``whamr`` is of
WHAMR!'s scripts (http://wham.whisper.ai): two microphones are as far apart as the ones that recorded its noise, of
which a table gives the distances (15 to 17 cm is our reading), and more of them stand on the same circle. WHAMR! has
three ranges of reverberation times, 0.1 to 0.3 s, 0.2 to 0.6 s and 0.4 to 1.0 s, by the place where its noise was
recorded; one range from the least to the largest is our reading.

References:
    Drude et al., SMS-WSJ, 2019, arXiv 1910.13934. Maciejewski, Wichern, McQuinn, Le Roux, "WHAMR!: Noisy and
    reverberant single-channel speech separation", ICASSP 2020, arXiv 1910.10279.
"""


def least_rt60(size: np.ndarray) -> float:
    """Returns the reverberation time in s of a room whose walls reflect nothing, by Sabine's formula.

    Example:
        >>> round(least_rt60(np.array([8.0, 6.0, 3.0])), 3)
        0.129
    """
    length, width, height = size
    surface = 2 * (length * width + length * height + width * height)
    return float(24 * math.log(10) / SOUND_SPEED * length * width * height / surface)


def draw_room(geometry: str, n_mics: int, n_positions: int, rt60_s: tuple[float, float], seed: tuple[int, ...]) -> Room:
    """Draws a room.

    Its reverberation time is uniform between the limits; where the lower one is below :func:`least_rt60`, which no
    walls can give, the range begins there.

    Args:
        geometry: a key of :data:`GEOMETRIES`.
        n_mics: C, number of microphones, evenly on a circle.
        n_positions: J, number of positions of sources.
        rt60_s: least and largest reverberation time.
        seed: of the draw; the room is a function of these arguments.

    Example:
        >>> room = draw_room("sms_wsj", 6, 4, (0.2, 0.5), (0, 17))
        >>> room.mics.shape, room.positions.shape, 0.2 <= room.rt60_s <= 0.5
        ((6, 3), (4, 3), True)
    """
    generator = np.random.default_rng(seed)
    size, mics, positions = GEOMETRIES[geometry].draw(generator, n_mics, n_positions)
    low = max(rt60_s[0], 1.001 * least_rt60(size))
    return Room(size, mics, positions, float(generator.uniform(low, max(low, rt60_s[1]))))
