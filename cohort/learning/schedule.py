"""The learning rate as a pure function of the step, so that nothing of it needs to be saved."""

import math
from collections.abc import Callable

from cohort.config import LrSchedule

MILESTONES: dict[LrSchedule, tuple[float, ...]] = {
    "step": (0.3, 0.6, 0.9),
    "thirds": (1 / 3, 2 / 3, 0.96),
    "constant": (),
}
"""Shares of training after which the rate is divided by 10: epochs 60, 120 and 180 of the 200 of
the DML paper; E/3, 2E/3 and E−10 of the 250 of self-distillation's authors."""

FLAT_UNTIL, FALLEN_AT, FALLEN_TO = 0.5, 0.9, 0.01
"""Shares of training between which ``linear`` falls, and of the rate it then has: epochs 150 and 270
of the 300 of the ODS authors."""

WARMUP_START = 0.01
"""Share of the rate at which a warm-up begins."""


def learning_rate(
    base: float, schedule: LrSchedule, total_steps: int, warmup_steps: int = 0
) -> Callable[[int], float]:
    """A function from step to learning rate, over ``total_steps`` steps.

    ``step`` and ``thirds`` divide by 10 at each of their ``MILESTONES``, ``linear`` is flat, falls
    linearly to a hundredth and is flat again, ``cosine`` falls to 0, ``constant`` stays.
    A warm-up rises linearly to ``base`` first, and the schedule then goes on as if there had been
    none.
    """

    def at(step: int) -> float:
        if step < warmup_steps:
            return base * (WARMUP_START + (1 - WARMUP_START) * step / warmup_steps)
        share = min(step / total_steps, 1.0)
        if schedule == "cosine":
            return base * (1 + math.cos(math.pi * share)) / 2
        if schedule == "linear":
            return base * linear_fall(share)
        passed = sum(step >= round(total_steps * share) for share in MILESTONES[schedule])
        return base * 0.1**passed

    return at


def linear_fall(share: float) -> float:
    """Share of the base rate that ``linear`` has after a share of training."""
    fallen = (share - FLAT_UNTIL) / (FALLEN_AT - FLAT_UNTIL)
    return 1 - (1 - FALLEN_TO) * min(max(fallen, 0.0), 1.0)
