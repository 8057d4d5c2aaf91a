"""Population-based training in which each trial keeps its own name and folder. Needs ray."""

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import PopulationBasedTraining, TrialScheduler

from cohort.tuning.space import Axis, Choice, LogUniform, RandInt, Uniform
from cohort.tuning.study import Pbt, Study
from cohort.tuning.trials import TrialSpec, config_of

Result = dict[str, Any]
TIME = "epoch"
DONOR = "donor"
"""The key of a trial's config that names the trial it last went on from."""


def at_end(result: Result) -> bool:
    """Whether a trial has trained to its end: nothing is saved by stopping it."""
    return "ended" in result or result.get(TIME, 0) >= result.get("total_epochs", math.inf)


def first_values(study: Study, spec: TrialSpec) -> dict[str, Any]:
    """The keys that change, as the trial's config has them; none without population-based training."""
    if not isinstance(study.scheduler, Pbt):
        return {}
    config = config_of(spec, None, Path())
    return {key: getattr(config, key) for key in study.scheduler.mutate}


class Population(PopulationBasedTraining):
    """Population-based training whose trials stay themselves.

    A trial that goes on from another one's weights takes over the keys that change, and nothing
    else: its config keeps its own ``trial``, and names the other as ``donor``. Keys stay within
    the bounds they are drawn from. What is drawn is a function of the seed and of what happened.
    """

    def __init__(self, pbt: Pbt, seed: int, **common: Any) -> None:
        super().__init__(
            **common,
            perturbation_interval=pbt.every_epochs,
            hyperparam_mutations={key: _mutation(axis) for key, axis in pbt.mutate.items()},
            quantile_fraction=pbt.quantile,
            resample_probability=pbt.resample,
            log_config=False,  # the study's folder has the decisions
            require_attrs=False,  # not every evaluation need have the metric
            synch=False,
        )
        self._axes = pbt.mutate
        self._draws = random.Random(seed).getstate(), np.random.RandomState(seed).get_state()

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Accept the trial of a searcher.

        Tune refuses those, as a searcher would learn from the values of keys that changed. Ours
        hands out a list and learns nothing.
        """
        without_searcher: Any = SimpleNamespace(search_alg=None)
        super().on_trial_add(without_searcher, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Result) -> str:
        """Let a trial at its end finish, else compare it with the others."""
        if at_end(result):
            return str(TrialScheduler.CONTINUE)
        return str(super().on_trial_result(tune_controller, trial, result))

    def _checkpoint_or_exploit(self, *args: Any) -> None:
        with self._own_draws():
            super()._checkpoint_or_exploit(*args)

    def _get_new_config(
        self, trial: Trial, trial_to_clone: Trial
    ) -> tuple[dict[str, Any], dict[str, str]]:
        explored, operations = super()._get_new_config(trial, trial_to_clone)
        changed = {key: _within(axis, explored[key]) for key, axis in self._axes.items()}
        donor = trial_to_clone.config["trial"]["name"]
        return {**trial.config, **changed, DONOR: donor}, operations

    @contextmanager
    def _own_draws(self) -> Iterator[None]:
        """Tune draws from the global random states: inside they are those of this object."""
        others = random.getstate(), np.random.get_state()
        _set_states(*self._draws)
        try:
            yield
        finally:
            self._draws = random.getstate(), np.random.get_state()
            _set_states(*others)


def _set_states(python: Any, numpy: Any) -> None:
    random.setstate(python)
    np.random.set_state(numpy)


def _mutation(axis: Axis) -> Any:
    """What Tune changes a key by: neighbours in a list, or factors and draws."""
    match axis:
        case Choice(values):
            return list(values)
        case Uniform(low, high):
            return tune.uniform(low, high)
        case LogUniform(low, high):
            return tune.loguniform(low, high)
        case RandInt(low, high):
            return tune.randint(low, high)
        case _:
            raise AssertionError(f"{type(axis).__name__} axes are refused when a study is read")


def _within(axis: Axis, value: Any) -> Any:
    """The value, or the bound that a factor brought it past."""
    match axis:
        case Uniform(low, high) | LogUniform(low, high):
            return min(max(value, low), high)
        case RandInt(low, high):
            return min(max(value, low), high - 1)
        case _:
            return value
