"""Which trials go on: Ray Tune's schedulers, made fit for runs that end by themselves."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from cohort.runtime.private_ray import ended_trial
from cohort.tuning.study import Asha, Study

Result = dict[str, Any]
TIME = "epoch"
BEYOND = 10**9
"""More epochs than any run has: no trial is stopped for its age."""
NOBODY: Any = None
"""The controller of trials that are replayed: it is asked nothing."""


def at_end(result: Result) -> bool:
    """Whether a trial has trained to its end: nothing is saved by stopping it."""
    return "ended" in result or result.get(TIME, 0) >= result.get("total_epochs", math.inf)


def build_scheduler(study: Study) -> TrialScheduler:
    """The scheduler of a study, which knows the study's metric and mode; hand Tune neither."""
    if not isinstance(study.scheduler, Asha):
        return FIFOScheduler()  # type: ignore[no-untyped-call]
    return _Asha(
        time_attr=TIME,
        metric=study.metric,
        mode=study.mode,
        grace_period=study.scheduler.grace_epochs,
        reduction_factor=study.scheduler.reduction_factor,
        max_t=BEYOND,
        # Otherwise a resumed trial would enter the rungs that it had passed before.
        stop_last_trials=False,
    )


def replay(scheduler: TrialScheduler, histories: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """Tell a new scheduler of trials that ended in an earlier session, for new ones to be compared.

    Args:
        scheduler: from ``build_scheduler``; one that compares nothing is told nothing.
        histories: by name of a trial its results in order, each with ``epoch`` and the metric.
    """
    if isinstance(scheduler, _Asha):
        for name, history in histories.items():
            scheduler.remember(ended_trial(name), history)


class _Asha(ASHAScheduler):
    """Lets a trial that has trained to its end finish; it counts for the others all the same."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Result) -> str:
        action: str = super().on_trial_result(tune_controller, trial, result)
        return TrialScheduler.CONTINUE if at_end(result) else action

    def remember(self, trial: Trial, history: Iterable[Mapping[str, Any]]) -> None:
        """Enter a trial that ended earlier at the rungs that it had passed."""
        self.on_trial_add(NOBODY, trial)
        for result in history:
            super().on_trial_result(NOBODY, trial, dict(result))
