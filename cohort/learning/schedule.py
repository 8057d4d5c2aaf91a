"""The learning rate as a pure function of the step, so that nothing of it needs to be saved."""

import math
from collections.abc import Callable

from cohort.config import LrSchedule

MILESTONES = (0.3, 0.6, 0.9)
"""Epochs 60, 120 and 180 of the 200 that the DML paper trains."""


def learning_rate(base: float, schedule: LrSchedule, total_steps: int) -> Callable[[int], float]:
    """A function from step to learning rate, over ``total_steps`` steps.

    ``step`` divides by 10 at each of ``MILESTONES``, ``cosine`` falls to 0, ``constant`` stays.
    """

    def at(step: int) -> float:
        if schedule == "constant":
            return base
        if schedule == "cosine":
            return base * (1 + math.cos(math.pi * min(step / total_steps, 1.0))) / 2
        return base * 0.1 ** sum(step >= round(total_steps * share) for share in MILESTONES)

    return at
