"""Means over seeds, and differences between settings that were trained with the same seeds."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Mean(NamedTuple):
    """A sample mean and its standard error, which is NaN for fewer than two values."""

    mean: float
    error: float
    n: int


class Difference(NamedTuple):
    """A mean paired difference, its standard error and confidence interval over ``n`` pairs."""

    mean: float
    error: float
    low: float
    high: float
    n: int


def mean_and_error(values: Sequence[float]) -> Mean:
    r"""Mean, and standard error :math:`s / \sqrt{n}` with the sample standard deviation *s*.

    The mean of nothing is NaN, and so is one over a NaN; an error too large for a float is infinite.

    Example:
        >>> mean_and_error([1.0, 3.0])
        Mean(mean=2.0, error=1.0, n=2)
    """
    n = len(values)
    mean = math.fsum(values) / n if n else math.nan
    with np.errstate(over="ignore"):  # the square of a huge loss is infinite
        error = float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return Mean(mean, error, n)


def paired_difference(
    a_by_seed: Mapping[int, float], b_by_seed: Mapping[int, float], confidence: float = 0.95
) -> Difference:
    """Mean of a - b over the seeds that both have, with an interval by Student's t.

    Error and interval are NaN for one pair, and everything is for none.

    Example:
        >>> [round(float(value), 3) for value in paired_difference({0: 3, 1: 5}, {0: 1, 1: 1, 2: 9})]
        [3.0, 1.0, -9.706, 15.706, 2.0]
    """
    seeds = sorted(a_by_seed.keys() & b_by_seed.keys())
    mean, error, n = mean_and_error([a_by_seed[seed] - b_by_seed[seed] for seed in seeds])
    reach = error * float(stats.t.ppf((1 + confidence) / 2, n - 1)) if n > 1 else math.nan
    return Difference(mean, error, mean - reach, mean + reach, n)
