"""Means and paired differences agree with SciPy's."""

import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cohort.metrics import statistics
from cohort.metrics.statistics import mean_and_error, paired_difference

NUMBERS = st.integers(-1000, 1000).map(lambda number: number / 8)
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=8).filter(
    lambda pairs: len({a - b for a, b in pairs}) > 1  # SciPy warns of equal differences
)


def test_examples():
    tested = doctest.testmod(statistics)
    assert tested.attempted > 1
    assert tested.failed == 0


@given(PAIRS, st.sampled_from([0.8, 0.95, 0.99]))
def test_as_scipy(pairs, confidence):
    first, second = zip(*pairs, strict=True)
    # In another order, with a seed each that the other lacks: pairs go by the seed.
    a = {**dict(enumerate(first)), 99: 1e6}
    b = {-1: 1e6, **dict(reversed(list(enumerate(second))))}
    found = paired_difference(a, b, confidence)
    oracle = stats.ttest_rel(first, second)
    interval = oracle.confidence_interval(confidence)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    differences = [x - y for x, y in pairs]
    assert found.error == pytest.approx(stats.sem(differences))
    assert found.mean == pytest.approx(math.fsum(differences) / len(pairs))
    assert found.n == len(pairs)
    assert mean_and_error(first) == pytest.approx(
        (math.fsum(first) / len(first), stats.sem(first), len(first))
    )


def test_one_pair_has_a_difference_but_no_interval():
    found = paired_difference({0: 3.0, 1: 5.0}, {0: 1.0})
    assert (found.mean, found.n) == (2, 1)
    assert all(map(math.isnan, (found.error, found.low, found.high)))


def test_no_pair():
    found = paired_difference({0: 3.0}, {1: 1.0})
    assert found.n == 0
    assert all(map(math.isnan, found[:4]))


def test_one_value_has_no_error():
    mean, error, n = mean_and_error([0.5])
    assert (mean, n) == (0.5, 1)
    assert math.isnan(error)


def test_nan_is_not_passed_over():
    assert math.isnan(mean_and_error([0.5, math.nan]).mean)
