"""Trials on Ray Tune: started, watched, stopped and started again."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cohort.runtime import private_ray

os.environ.update(private_ray.FOR_TUNE | os.environ)

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from cohort.run.interruption import Interruption
from cohort.tuning.on_ray.placing import Placing
from cohort.tuning.on_ray.searcher import Unsaved
from cohort.tuning.on_ray.stopped import EndStopped
from cohort.tuning.on_ray.trial import Setting, train_trial
from cohort.tuning.on_ray.watch import Watch
from cohort.tuning.trials import TrialSpec


class StopTrials(Unsaved, tune.Callback):
    """Tells running trials to stop, with a checkpoint, once somebody interrupts the study.

    By a file: they stand on this node, and look for it after every step.
    """

    def __init__(self, stop_file: Path, requested: Callable[[], bool]) -> None:
        self._stop_file = stop_file
        self._requested = requested

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune's loop turns a few times a second."""
        if self._requested():
            self._stop_file.touch()


def fit(
    trials: Searcher | Sequence[TrialSpec],
    scheduler: TrialScheduler | None,
    *,
    setting: Setting,
    placing: Placing,
    watch: Watch,
    interruption: Interruption,
    at_once: int | None,
    ahead: int,
    max_failures: int,
) -> None:
    """Run these trials to their ends, or until interrupted.

    Args:
        trials: what hands them out, or all of them.
        scheduler: which of them go on; None for all.
        setting: what the trials have in common.
        placing: what each takes of the cluster.
        watch: told of what happens to them.
        interruption: whether the study is to stop.
        at_once: how many may run at a time, if not as many as there are places for.
        ahead: how many may wait for places beside those that run, their processes ready.
        max_failures: how often the process of a trial may die.
    """
    searcher = trials if isinstance(trials, Searcher) else None
    listed = None if isinstance(trials, Searcher) else [spec.to_dict() for spec in trials]
    with _notes() as notes, _silent(), private_ray.environment(private_ray.WAITING, str(ahead)):
        tune.Tuner(
            tune.with_resources(tune.with_parameters(train_trial, setting=setting), placing),
            param_space={} if listed is None else {"trial": tune.grid_search(listed)},
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1 if listed is None else 1,
                scheduler=scheduler,
                max_concurrent_trials=at_once if listed else None,
                reuse_actors=True,  # a process takes seconds to start
                trial_name_creator=_name_of,
                trial_dirname_creator=_name_of,
            ),
            run_config=tune.RunConfig(
                name="study",
                storage_path=notes,
                verbose=0,
                callbacks=[
                    StopTrials(setting.stop_file, interruption.requested),
                    EndStopped(setting.study_dir, watch.tell),
                    watch,
                ],
                failure_config=tune.FailureConfig(max_failures=max_failures),
            ),
        ).fit()


@contextmanager
def _notes() -> Iterator[str]:
    """A folder for Tune's own notes, removed afterwards; results are in the study's folder."""
    folder = tempfile.mkdtemp(prefix="cohort-", dir=private_ray.session_folder())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _silent() -> Iterator[None]:
    """Without Tune's tracebacks of processes that died: the watch says it in a sentence."""
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _name_of(trial: Trial) -> str:
    return str(trial.config["trial"]["name"])
