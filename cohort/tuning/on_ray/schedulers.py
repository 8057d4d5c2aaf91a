"""Which trials go on: Ray Tune's schedulers, made fit for runs that end by themselves. Needs ray."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    TrialScheduler,
)

from cohort.runtime.private_ray import ended_trial
from cohort.tuning.on_ray.population import TIME, Population, Result, at_end
from cohort.tuning.study import Asha, Median, Pbt, Study

BEYOND = 10**9
"""More epochs than any run has: no trial is stopped for its age."""
NEVER: Any = math.inf  # where Tune says it takes an int
NOBODY: Any = None
"""The controller of trials that are replayed: the two schedulers that are told ask it nothing."""


def build_scheduler(study: Study) -> TrialScheduler:
    """The scheduler of a study, which knows the study's metric and mode; hand Tune neither."""
    common: dict[str, Any] = {"time_attr": TIME, "metric": study.metric, "mode": study.mode}
    match study.scheduler:
        case Asha(grace_epochs=grace, reduction_factor=factor):
            return _Asha(
                **common,
                grace_period=grace,
                reduction_factor=factor,
                max_t=BEYOND,
                # Otherwise a resumed trial would enter the rungs that it had passed before.
                stop_last_trials=False,
            )
        case Median(grace_epochs=grace, min_trials=least):
            return _Median(
                **common,
                grace_period=grace,
                min_samples_required=least,
                # Otherwise each trial would be paused at each report until there are enough.
                min_time_slice=NEVER,
                hard_stop=True,
            )
        case Pbt() as pbt:
            # A grid search has no seed.
            return Population(pbt, getattr(study.search, "seed", 0), **common)
        case _:
            return FIFOScheduler()  # type: ignore[no-untyped-call]


def replay(scheduler: TrialScheduler, histories: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """Tell a new scheduler of trials that ended in an earlier session.

    So that new trials are compared with old ones by asha and median. The others compare nothing, or
    only trials that can be gone on from.

    Args:
        scheduler: from ``build_scheduler``.
        histories: by name of a trial its results in order, each with ``epoch`` and the metric.
    """
    if isinstance(scheduler, _Asha | _Median):
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


class _Median(MedianStoppingRule):
    """Lets a trial that has trained to its end finish; it counts for the others all the same.

    Tune's own enters the last result twice, and breaks on one without the metric.
    """

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Result) -> str:
        if not at_end(result):
            return str(super().on_trial_result(tune_controller, trial, result))
        return TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Result) -> None:
        if at_end(result) and self.metric in result:
            super().on_trial_complete(tune_controller, trial, result)

    def remember(self, trial: Trial, history: Iterable[Mapping[str, Any]]) -> None:
        """Enter all results of a trial that ended earlier, without judging it again."""
        for result in history:
            if self.metric in result:
                super().on_trial_complete(NOBODY, trial, dict(result))
