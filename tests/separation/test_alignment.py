from itertools import permutations

import numpy as np
import pytest

from asteroid_stab.separation.alignment import HEARD, SpeakerMemory, match


@pytest.mark.parametrize("n_src", [2, 3, 5])
def test_match_is_the_order_of_least_squared_difference(n_src):
    rng = np.random.default_rng(n_src)
    for _ in range(20):
        committed = rng.standard_normal((n_src, 30)) * rng.uniform(0.1, 3, (n_src, 1))
        estimates = rng.standard_normal((n_src, 30)) + committed[rng.permutation(n_src)]
        orders = list(permutations(range(n_src)))
        costs = [np.square(committed - estimates[list(order)]).sum() for order in orders]
        assert tuple(match(committed, estimates)) == orders[int(np.argmin(costs))]


def memory_of(levels, length=100):
    memory = SpeakerMemory(length)
    rng = np.random.default_rng(0)
    committed = rng.standard_normal((len(levels), 3 * length)) * np.array(levels)[:, None]
    memory.listen(committed.sum(0), committed)
    return memory, committed


def test_missing_speakers():
    memory, committed = memory_of([1.0, 0.5, 2.0])
    for levels, missing in [
        ([1, 1, 1], []),
        ([0, 1, 1], []),  # who pauses is who is left over
        ([0, 0, 1], [0, 1]),
        ([1, 0, 0], [1, 2]),
        ([0, 0, 0], [0, 1, 2]),
    ]:
        assert memory.missing(committed * np.array(levels)[:, None]) == missing, levels


def test_leakage_is_not_heard():
    memory, committed = memory_of([1.0, 1.0, 1.0])
    leak = 0.9 * np.sqrt(HEARD * memory.loudness)
    overlap = np.stack([committed[0], leak * np.ones(300), -leak * np.ones(300)])
    assert memory.missing(overlap) == [1, 2]


def test_nobody_has_spoken_yet():
    memory = SpeakerMemory(100)
    memory.listen(np.zeros(300), np.zeros((3, 300)))
    assert memory.passages == {}
    assert memory.missing(np.zeros((3, 50))) == []


def test_listen_takes_the_passage_where_each_is_loudest():
    memory = SpeakerMemory(10)
    committed = np.zeros((3, 35))
    committed[0, 20:30] = 1.0
    committed[1, 0:10] = 2.0
    committed[2, 5:15] = 1.0  # half in the first, half in the second passage
    committed[2, 10] = 3.0
    mixture = np.arange(35.0)
    memory.listen(mixture, committed)
    np.testing.assert_array_equal(memory.passages[0].mixture, mixture[20:30])
    np.testing.assert_array_equal(memory.passages[1].committed, committed[:, :10])
    np.testing.assert_array_equal(memory.passages[2].mixture, mixture[10:20])
    assert memory.loudness == 4.0


def test_quiet_passage_does_not_replace_a_loud_one():
    memory, _ = memory_of([1.0, 1.0])
    before = {j: passage.power for j, passage in memory.passages.items()}
    quiet = np.array([[0.3], [0.8]]) * np.ones((2, 100))
    memory.listen(np.ones(100), quiet)
    assert memory.passages[0].power == before[0]
    assert memory.passages[1].power == pytest.approx(0.64)


def test_chunk_shorter_than_a_passage_is_not_kept():
    memory = SpeakerMemory(100)
    memory.listen(np.ones(99), np.ones((2, 99)))
    assert memory.passages == {}
