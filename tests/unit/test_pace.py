"""Chunks of steps grow where they are short, and shrink again where they are long."""

import pytest

from cohort.runtime.pace import FEWEST, MOST, Pace


@pytest.mark.parametrize(
    ("step_seconds", "chunk"),
    [(0.0001, 64), (0.003, 64), (0.01, 16), (0.03, 4), (0.05, 4), (10.0, 4)],
)
def test_a_chunk_takes_a_tenth_of_a_second_or_has_the_fewest_steps(step_seconds, chunk):
    moment = 0.0
    pace = Pace(now=lambda: moment)
    for _ in range(20):
        pace.came_back()
        moment += pace.chunk * step_seconds
    assert pace.chunk == chunk


def test_steps_that_become_longer_make_shorter_chunks():
    moments = iter([0.0, *(0.01 * k for k in range(1, 9)), 1.0, 2.0, 2.2])
    pace = Pace(now=lambda: next(moments))
    lengths = []
    for _ in range(12):
        pace.came_back()
        lengths.append(pace.chunk)
    assert lengths[:6] == [FEWEST, 8, 16, 32, MOST, MOST]
    assert lengths[-3:] == [32, 16, 16]


def test_a_chunk_has_no_more_steps_than_allowed():
    pace = Pace(most=FEWEST, now=lambda: 0.0)
    for _ in range(3):
        pace.came_back()
    assert pace.chunk == FEWEST


def test_a_pause_is_no_chunk():
    moments = iter([0.0, 0.05, 9.0, 9.05])
    pace = Pace(now=lambda: next(moments))
    pace.came_back()
    pace.came_back()
    pace.begin()
    pace.came_back()
    assert pace.chunk == 8
    pace.came_back()
    assert pace.chunk == 16
