"""A host's clock, by a clock and a device of the test's own; and who waits for whom, in a sentence."""

import doctest

import pytest

from cohort.reporting import waits
from cohort.reporting.waits import delay_of
from cohort.runtime.clock import Clock, Times
from cohort.runtime.waits import Waits
from tests.support.clocks import Hand, Mark


@pytest.fixture
def hand():
    Mark.forget()
    return Hand()


def test_what_lies_between_two_tasks_is_waiting(hand):
    clock = Clock(now=hand)
    hand.move(100)  # before the first: evaluation, say
    for _ in range(3):
        with clock.working():
            hand.move(2)
        hand.move(0.5)
    assert clock.take() == Times(busy=6.0, waited=1.0)
    hand.move(100)
    with clock.working():
        hand.move(1)
    assert clock.take() == Times(busy=1.0, waited=0.0)


def test_what_is_waited_within_a_task_is_no_work(hand):
    clock = Clock(now=hand)
    with clock.working():
        hand.move(2)
        with clock.waiting():
            hand.move(3)
        hand.move(4)
    assert clock.take() == Times(busy=6.0, waited=3.0)


def test_a_device_s_waiting_is_read_from_its_marks(hand):
    clock = Clock(event=lambda: Mark(hand), now=hand)
    with clock.working():
        for _ in range(3):
            hand.move(1)
            with clock.waiting():
                hand.move(0.25)
    assert clock.take() == Times(busy=3.0, waited=0.75)
    assert Mark.slept == 3


def test_times_of_several_advances_are_added():
    whole = Times(1.0, 2.0, {"predict": 0.5}) + Times(0.5, 0.25, {"predict": 0.25, "learn": 0.125})
    assert whole == Times(1.5, 2.25, {"predict": 0.75, "learn": 0.125})


def host(students, busy, waited, **parts):
    seconds = {"busy": busy, "wait": waited, **parts}
    named = {f"{what}_seconds_per_epoch": spent for what, spent in seconds.items()}
    return {"students": students, **named}


def test_examples_in_docstrings_run():
    results = doctest.testmod(waits)
    assert (results.attempted, results.failed) == (4, 0)


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ([host([0, 1], 10, 0)], "None"),
        ([], "None"),
        ([host([0], 10, 3), host([1], 10.1, 2.9)], "None"),
        ([host([0], 0.1, 0.05), host([1], 0.1, 0.01)], "None"),
        ([host([0], 4, 7.5), host([1], 11, 0.5)], "student 0 waits 7.0 s an epoch for student 1"),
        (
            [host([0, 1], 4, 8), host([2], 11, 1), host([3], 11.5, 0.5)],
            "students 0 and 1 wait 7.5 s an epoch for student 3",
        ),
        (
            [host([0, 1], 11, 1), host([2], 6, 6), host([3], 4, 8)],
            "students 2 and 3 wait 7.0 s an epoch for students 0 and 1",
        ),
    ],
    ids=[
        "one host",
        "none",
        "like students",
        "too little to write",
        "two",
        "two in one host",
        "two hosts",
    ],
)
def test_who_waits_for_whom(hosts, said):
    assert str(delay_of(hosts)) == said


def test_a_run_says_once_for_whom_all_wait_and_again_if_that_is_another():
    said = []
    run = Waits(said.append, steps_per_epoch=10)
    assert run.hosts() == []
    run.add({(0,): Times(1.0, 3.0), (1,): Times(4.0, 0.0)}, steps=5)
    run.add({(0,): Times(1.0, 3.0), (1,): Times(4.0, 0.0)}, steps=5)
    assert said == ["student 0 waits 6.0 s an epoch for student 1"]
    run.add({(0,): Times(41.0, 0.0, {"learn": 8.0}), (1,): Times(11.0, 30.0)}, steps=10)
    assert said[1:] == ["student 1 waits 12.0 s an epoch for student 0"]
    assert run.hosts() == [host([0], 21.5, 3.0, learn=4.0), host([1], 9.5, 15.0)]


def test_hosts_that_are_no_more_are_forgotten_and_one_waits_for_nobody():
    said = []
    run = Waits(said.append, steps_per_epoch=10)
    run.add({(0,): Times(1.0, 3.0), (1,): Times(4.0, 0.0), (2,): Times(4.0, 0.0)}, steps=10)
    run.add({(1,): Times(2.0, 0.0), (2,): Times(2.0, 0.0)}, steps=10)
    assert run.hosts() == [host([1], 2.0, 0.0), host([2], 2.0, 0.0)]
    run.add({(2,): Times(2.0, 0.5)}, steps=10)
    assert run.hosts() == [host([2], 2.0, 0.0)]
    assert len(said) == 1
