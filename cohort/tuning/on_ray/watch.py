"""What happens to the trials of a study, shown and put on record."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ray.exceptions import RayTaskError
from ray.tune import Callback
from ray.tune.experiment import Trial

from cohort.imports import one_line
from cohort.runtime.private_ray import error_of
from cohort.tuning.folder import StudyFolder
from cohort.tuning.on_ray.schedulers import Result
from cohort.tuning.on_ray.searcher import Unsaved
from cohort.tuning.progress import StudyProgress, name_of
from cohort.tuning.study import Study
from cohort.tuning.trials import TrialSpec


class Watch(Unsaved, Callback):
    """Turns Tune's events into lines for people and decisions in the study's folder.

    Args:
        study: whose trials they are.
        folder: where decisions are recorded: stopped, failed.
        progress: what shows them.
        interrupted: whether the study is being interrupted: trials that end then without saying so
            were neither stopped nor failed, and go on when the study does.
    """

    def __init__(
        self,
        study: Study,
        folder: StudyFolder,
        progress: StudyProgress,
        interrupted: Callable[[], bool],
    ) -> None:
        self._study = study
        self._folder = folder
        self._progress = progress
        self.tell = progress.notice
        self._interrupted = interrupted

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """A trial begins, or goes on after its process' death."""
        self._show(_spec(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: Result, **info: Any
    ) -> None:
        """A trial has been evaluated; one that failed may say so without the metric."""
        if self._study.metric in result:
            self._progress.reported(
                _spec(trial).name,
                result["epoch"],
                result[self._study.metric],
                result.get("total_epochs"),
            )

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """A trial finished or failed, as it said itself, or else the scheduler stopped it."""
        spec, result = _spec(trial), trial.last_result or {}
        match result.get("ended"):
            case "finished":
                self._show(spec)
                self._progress.ended(spec.name, "finished", result.get(self._study.metric))
            case "failed":
                self._failed(spec, str(result.get("reason", "it gave no reason")))
            case _ if not self._interrupted():
                self._stopped(spec, result)

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """The process of a trial died, and the trial is started again."""
        spec, deaths = _spec(trial), trial.num_failures
        name = name_of(spec.labels, spec.seed)
        of = f"{deaths} of {self._study.max_failures}"
        self._progress.notice(f"{name} died ({of}) and goes on: {_reason(trial)}")

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """The process of a trial died too often."""
        if not self._interrupted():
            self._failed(_spec(trial), _reason(trial))

    def _show(self, spec: TrialSpec) -> None:
        """Have a row for the trial; Tune may end it without ever having started it."""
        epochs = spec.values.get("epochs")
        self._progress.started(spec.name, spec.labels, spec.seed, epochs)

    def _failed(self, spec: TrialSpec, reason: str) -> None:
        self._folder.record_decision(spec.name, "failed", reason=reason)
        self._show(spec)
        self._progress.ended(spec.name, "failed", None, reason)

    def _stopped(self, spec: TrialSpec, result: Result) -> None:
        scheduler = asdict(self._study.scheduler)
        step = result.get("step")
        self._folder.record_decision(spec.name, "stopped", step=step, scheduler=scheduler)
        self._show(spec)
        self._progress.ended(spec.name, "stopped", result.get(self._study.metric))


def _spec(trial: Trial) -> TrialSpec:
    return TrialSpec.from_dict(trial.config["trial"])


def _reason(trial: Trial) -> str:
    """The error of a trial's process in one line."""
    error = error_of(trial)
    if isinstance(error, RayTaskError):
        error = error.cause  # what was raised, without the remote traceback
    return "its process died" if error is None else one_line(error)
