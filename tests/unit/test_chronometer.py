"""A chronometer that knows what not to count."""

import pytest

from cohort.reporting.chronometer import Chronometer


class Clock:
    """Time that moves when told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_chronometer_leaves_out_warm_up_and_pauses():
    clock = Clock()
    chronometer = Chronometer(warmup_steps=2, clock=clock)
    for step, seconds in ((1, 60), (2, 30), (3, 2), (4, 2)):
        clock.now += seconds
        chronometer.tick(step)
    with chronometer.paused():
        clock.now += 500
        assert chronometer.training_seconds == 94
    clock.now += 2
    chronometer.tick(5)
    assert chronometer.steps_per_second == pytest.approx(0.5)
    assert chronometer.eta(5, 105) == pytest.approx(200)
    assert chronometer.elapsed == 596
    assert chronometer.training_seconds == 96


def test_of_a_short_run_the_warm_up_counts_and_tells_nothing_of_a_long_one():
    clock = Clock()
    chronometer = Chronometer(warmup_steps=5, clock=clock)
    clock.now += 5
    assert chronometer.steps_per_second is None
    assert chronometer.eta(0, 20) is None
    clock.now += 15
    chronometer.tick(10)
    assert chronometer.steps_per_second == pytest.approx(0.5)
    assert chronometer.eta(10, 20) == pytest.approx(20)
    assert chronometer.eta(10, 21) is None
    clock.now += 1
    chronometer.tick(12)
    assert chronometer.steps_per_second == pytest.approx(2)
    assert chronometer.eta(12, 1012) == pytest.approx(500)


def test_chronometer_of_a_resumed_run_warms_up_again():
    clock = Clock()
    chronometer = Chronometer(warmup_steps=2, clock=clock)
    chronometer.start(step=100)
    for step, seconds in ((101, 60), (102, 60), (103, 4)):
        clock.now += seconds
        chronometer.tick(step)
    assert chronometer.steps_per_second == pytest.approx(0.25)


def test_chronometer_counts_repeated_steps_after_a_roll_back():
    clock = Clock()
    chronometer = Chronometer(warmup_steps=0, clock=clock)
    for step, seconds in ((10, 10), (4, 7), (10, 6), (10, 0)):
        clock.now += seconds
        chronometer.tick(step)
    assert chronometer.steps_per_second == pytest.approx(1)


def test_a_pause_ends_though_what_it_holds_fails():
    clock = Clock()
    chronometer = Chronometer(clock=clock)

    def save():
        with chronometer.paused():
            clock.now += 5
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        save()
    clock.now += 1
    assert chronometer.training_seconds == 1
