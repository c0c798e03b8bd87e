"""Rooms are within the ranges of the corpora that they are modelled on, and each is a function of its seed."""

import numpy as np
import pytest

from asteroid_stab.data.rooms.geometry import GEOMETRIES, draw_room, least_rt60


def drawn(geometry, n=300, n_mics=2, n_positions=4):
    own = GEOMETRIES[geometry]
    return [draw_room(geometry, n_mics, n_positions, (own.low_rt60_s, own.high_rt60_s), (3, i)) for i in range(n)]


def spread(values, low, high):
    """All values are between the limits, and come near both of them."""
    values = np.asarray(values)
    assert low <= values.min() < low + 0.1 * (high - low)
    assert high >= values.max() > high - 0.1 * (high - low)


@pytest.mark.parametrize("n_mics", [2, 6])
def test_rooms_of_sms_wsj(n_mics):
    rooms = drawn("sms_wsj", n_mics=n_mics)
    for axis, middle in enumerate((8, 6, 3)):
        spread([room.size[axis] for room in rooms], middle - 0.2, middle + 0.2)
        spread([room.mics[:, axis].mean() for room in rooms], middle / 2 - 0.2, middle / 2 + 0.2)
    spread([room.rt60_s for room in rooms], 0.2, 0.5)
    for room in rooms:
        from_centre = room.mics - room.mics.mean(0)
        np.testing.assert_allclose(np.linalg.norm(from_centre, axis=1), 0.1)
        assert np.abs(from_centre[:, 2]).max() < 0.1 * np.sin(2 * 0.01 * 2 * np.pi)
        away = room.positions - room.mics.mean(0)
        np.testing.assert_allclose(away[:, 2], 0, atol=1e-12)
    distances = np.concatenate([np.linalg.norm(room.positions - room.mics.mean(0), axis=1) for room in rooms])
    spread(distances, 1.0, 2.0)
    assert np.mean(distances**2) == pytest.approx(2.5, abs=0.1)  # even over the ring: the square is uniform


def test_rooms_of_whamr():
    rooms = drawn("whamr")
    for axis, (low, high) in enumerate(((5, 10), (5, 10), (3, 4))):
        spread([room.size[axis] for room in rooms], low, high)
    spread([room.mics.mean(0)[0] - room.size[0] / 2 for room in rooms], -0.2, 0.2)
    spread([room.mics.mean(0)[2] for room in rooms], 0.9, 1.8)
    spread([np.linalg.norm(room.mics[0] - room.mics[1]) for room in rooms], 0.15, 0.17)
    spread([position[2] for room in rooms for position in room.positions], 0.9, 1.8)
    spread([np.linalg.norm((p - room.mics.mean(0))[:2]) for room in rooms for p in room.positions], 0.66, 2.0)
    assert all(least_rt60(room.size) < room.rt60_s <= 1.0 for room in rooms)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_all_is_in_the_room_and_no_farther_than_is_said(geometry):
    for room in drawn(geometry, n_mics=5):
        for places in (room.mics, room.positions):
            assert (places > 0.2).all()
            assert (places < room.size - 0.2).all()
        distances = room.distances()
        assert distances.shape == (4, 5)
        assert distances[2, 3] == pytest.approx(np.linalg.norm(room.positions[2] - room.mics[3]))
        assert distances.max() <= GEOMETRIES[geometry].farthest_m


def test_a_room_is_a_function_of_its_seed():
    one, same, other = (draw_room("whamr", 3, 2, (0.3, 0.6), seed) for seed in ((0, 5), (0, 5), (0, 6)))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one.size, other.size)


def test_a_reverberation_time_that_no_walls_give_is_not_drawn():
    """Sabine: walls that take all sound in leave 0.161 V / S seconds."""
    for i in range(50):
        room = draw_room("whamr", 1, 1, (0.01, 0.02), (i,))
        length, width, height = room.size
        surface = 2 * (length * width + length * height + width * height)
        assert room.rt60_s == pytest.approx(0.161 * length * width * height / surface, rel=5e-3)
        assert room.rt60_s > least_rt60(room.size)
