"""Schedules: values, and arguments that are out of range."""

import math

import pytest

from asteroid_stab.losses import ExponentialSchedule, RisingSchedule, SteppedSchedule


def test_the_power_does_not_overflow_and_stays_below_its_limit():
    assert ExponentialSchedule(1.05, -1.0, 50.0)(10**9) == 50.0
    assert math.isfinite(ExponentialSchedule(2.0)(10**6))
    assert ExponentialSchedule(0.5, 0.25)(60) == pytest.approx(0.25)


def test_the_rising_schedule_ends():
    schedule = RisingSchedule(0.2, until=4)
    assert [schedule(k) for k in (0, 1, 4, 100)] == pytest.approx([-0.2, -0.15, 0.0, 0.0])
    assert RisingSchedule(0.0, until=1)(0) == 0.0


def test_the_stepped_schedule_is_a_product_of_steps():
    schedule = SteppedSchedule(0.4, 0.8, first_epoch=100, every_epochs=5)
    wanted, value = [], 0.4
    for epoch in range(120):
        value *= 0.8 if epoch >= 100 and (epoch - 100) % 5 == 0 else 1.0
        wanted.append(value)
    assert [schedule(epoch) for epoch in range(120)] == pytest.approx(wanted)
    assert SteppedSchedule(0.4)(10**6) == 0.4
    assert [SteppedSchedule(0.4, 0.5, end_epoch=2)(epoch) for epoch in range(4)] == [0.2, 0.1, 0.0, 0.0]
    assert SteppedSchedule(0.4, end_epoch=0)(0) == 0.0


@pytest.mark.parametrize(
    ("schedule", "arguments", "message"),
    [
        (ExponentialSchedule, {"base": 0.0}, "base must be above 0, got 0"),
        (ExponentialSchedule, {"base": math.nan}, "base must be above 0, got nan"),
        (ExponentialSchedule, {"base": 1.0, "offset": -2.0}, "no value may be below 0, got -1.0 in epoch 0"),
        (ExponentialSchedule, {"base": 0.5, "offset": -1.0}, "and -1.0 in the end"),
        (RisingSchedule, {"least": -0.1, "until": 3}, "least must be a number of at least 0, got -0.1"),
        (RisingSchedule, {"least": math.inf, "until": 3}, "least must be a number of at least 0, got inf"),
        (RisingSchedule, {"least": 0.1, "until": 0}, "until must be at least 1, got 0"),
        (SteppedSchedule, {"value": -0.1}, "value must be a number of at least 0, got -0.1"),
        (SteppedSchedule, {"value": math.inf}, "value must be a number of at least 0, got inf"),
        (SteppedSchedule, {"value": 0.4, "factor": 1.1}, "factor must be from 0 to 1, got 1.1"),
        (SteppedSchedule, {"value": 0.4, "first_epoch": -1}, "at least 0 and every_epochs at least 1, got -1 and 1"),
        (SteppedSchedule, {"value": 0.4, "every_epochs": 0}, "at least 0 and every_epochs at least 1, got 0 and 0"),
        (SteppedSchedule, {"value": 0.4, "end_epoch": -1}, "end_epoch must be at least 0, got -1"),
    ],
)
def test_arguments_out_of_range_are_refused(schedule, arguments, message):
    with pytest.raises(ValueError, match=message):
        schedule(**arguments)
