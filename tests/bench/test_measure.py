"""What the benchmarks measure with: rounds, and the memory of a call."""

import os
import time
from functools import partial

import pytest
import torch

from asteroid_stab.errors import StabError
from bench.measure import least_times, peak_bytes, peak_of_tensors, take_turns


def test_calls_take_turns_and_the_first_round_is_not_counted():
    order = []
    seconds = take_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, 60.0, "cpu")
    assert order == ["a", "b"] * 4
    assert [len(values) for values in seconds.values()] == [3, 3]


def test_no_round_begins_once_the_time_is_over_and_there_are_enough():
    slow = {"slow": lambda: time.sleep(0.01)}
    assert len(take_turns(slow, 50, 0.0, "cpu", min_rounds=3)["slow"]) == 3
    assert take_turns(slow, 1, 60.0, "cpu")["slow"][0] >= 0.01


def test_the_least_time_of_each_call():
    clock = iter([0.0, 5.0, 10.0, 14.0, 20.0, 21.0, 30.0, 32.0, 40.0, 48.0])  # the round that warms up reads no ends
    least = least_times({"a": lambda: None, "b": lambda: None}, 2, 60.0, "cpu", clock=lambda: next(clock))
    assert least == {"a": 2.0, "b": 1.0}


def test_the_peak_is_of_the_tensors_that_were_there_at_a_time():
    kept = []
    older = [torch.ones(70 * 2**10)]

    def call():
        older.clear()
        for _ in range(3):
            torch.ones(50 * 2**10)  # gone at once
        kept.append(torch.ones(100 * 2**10))
        torch.ones(50 * 2**10)

    assert peak_of_tensors(call) == 4 * 150 * 2**10


@pytest.mark.slow
def test_the_peak_of_a_call_in_a_process_of_its_own():
    assert peak_bytes("ones", partial, (torch.ones, 100 * 2**18), (torch.ones, 1), "cpu", 1) == 100 * 2**20


@pytest.mark.bench
def test_a_measurement_that_is_killed_says_so():
    with pytest.raises(StabError, match="of ours with --n-src 4 was killed, probably because memory ran out"):
        peak_bytes("ours with --n-src 4", partial, (os.abort,), (os.abort,), "cpu", 1)
