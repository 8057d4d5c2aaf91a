"""The learning rate as a pure function of the step, so that nothing of it needs to be saved."""

import math

from cohort.config import LrSchedule
from cohort.learning.plan import TrainingPlan

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


def learning_rate(plan: TrainingPlan, step: int) -> float:
    """The learning rate of a step.

    ``step`` and ``thirds`` divide by 10 at each of their ``MILESTONES``, ``linear`` is flat, falls
    linearly to a hundredth and is flat again, ``cosine`` falls to 0, ``constant`` stays.
    A warm-up rises linearly to ``plan.lr`` first, and the schedule then goes on as if there had been
    none.
    """
    if step < plan.warmup_steps:
        return plan.lr * (WARMUP_START + (1 - WARMUP_START) * step / plan.warmup_steps)
    share = min(step / plan.schedule_steps, 1.0)
    if plan.lr_schedule == "cosine":
        return plan.lr * (1 + math.cos(math.pi * share)) / 2
    if plan.lr_schedule == "linear":
        return plan.lr * linear_fall(share)
    milestones = MILESTONES[plan.lr_schedule]
    passed = sum(step >= round(plan.schedule_steps * share) for share in milestones)
    return plan.lr * 0.1**passed


def linear_fall(share: float) -> float:
    """Share of the base rate that ``linear`` has after a share of training."""
    fallen = (share - FLAT_UNTIL) / (FALLEN_AT - FLAT_UNTIL)
    return 1 - (1 - FALLEN_TO) * min(max(fallen, 0.0), 1.0)
