"""What a step's time goes into, by a clock and a device of the test's own, and in training."""

import pytest
import torch

from cohort import CohortConfig, train_cohort
from cohort.learning.stopwatch import FOLDED, PARTS, Stopwatch, TimedSource
from tests.support.clocks import Hand, Mark


@pytest.fixture
def hand():
    Mark.forget()
    return Hand()


class Slow:
    """A source that takes two seconds for a batch."""

    shard = (0, 1)

    def __init__(self, hand):
        self.hand = hand

    def batch(self, step):
        self.hand.move(2)
        return torch.tensor(step), torch.tensor(0)


def test_a_part_within_another_counts_once(hand):
    stopwatch = Stopwatch(now=hand)
    source = TimedSource(Slow(hand), stopwatch)
    for step in range(3):
        with stopwatch.part("predict"):
            hand.move(1)
            assert source.batch(step)[0] == step
            hand.move(0.5)
        hand.move(100)
        with stopwatch.part("learn"):
            hand.move(4)
    assert stopwatch.take() == {"batch": 6.0, "predict": 4.5, "learn": 12.0}
    assert stopwatch.take() == {}


def test_a_part_that_fails_leaves_the_next_right(hand):
    stopwatch = Stopwatch(now=hand)
    for error in (ValueError, None):
        try:
            with stopwatch.part("predict"), stopwatch.on_host("batch"):
                hand.move(1)
                if error:
                    raise error
        except ValueError:
            pass
    assert stopwatch.take() == {"batch": 2.0, "predict": 0.0}


def test_a_device_s_parts_are_read_from_its_marks_without_waiting_for_it(hand):
    stopwatch = Stopwatch(event=lambda: Mark(hand), now=hand)
    Mark.reached = 20  # of ten parts
    for _ in range(FOLDED + 10):
        with stopwatch.part("predict"):
            hand.move(0.25)
            with stopwatch.on_host("batch"):  # while the device goes on
                hand.move(0.5)
    assert len(stopwatch._marks) == FOLDED
    assert Mark.slept == 0
    parts = FOLDED + 10
    assert stopwatch.take() == {"predict": 0.75 * parts, "batch": 0.5 * parts}
    assert Mark.slept == FOLDED


def test_what_a_stopwatch_forgets_is_not_told(hand):
    stopwatch = Stopwatch(event=lambda: Mark(hand), now=hand)
    with stopwatch.part("predict"), stopwatch.on_host("batch"):
        hand.move(1)
    stopwatch.reset()
    assert stopwatch.take() == {}


def test_a_run_tells_what_its_steps_were_spent_on(tmp_path):
    config = CohortConfig(
        dataset="synthetic", image_size=8, exchange="in_process", steps=4, batch_size=16,
        train_subset=64, test_subset=16, run_dir=str(tmp_path / "run"),
    )  # fmt: skip
    (host,) = train_cohort(config).summary["hosts"]
    assert host["students"] == [0, 1]
    parts = [host[f"{part}_seconds_per_epoch"] for part in PARTS]
    assert all(part > 0 for part in parts)
    assert sum(parts) == pytest.approx(host["busy_seconds_per_epoch"])
    assert host["wait_seconds_per_epoch"] == 0
