"""How far a study is, read from its folder: nothing else remembers it. No ray."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cohort.config_file import read_config
from cohort.errors import ConfigError
from cohort.run.folder import RunFolder
from cohort.tuning.commands import CONFIGS
from cohort.tuning.folder import StudyFolder
from cohort.tuning.measurements import finals, history, state_of
from cohort.tuning.space import Point
from cohort.tuning.study import OptunaSearch, Study
from cohort.tuning.trials import TrialSpec, points_of, trials_of


@dataclass(frozen=True)
class Ended:
    """Trials that finished, or were stopped by the scheduler that the study has."""

    values: dict[str, float | None] = field(default_factory=dict)
    """The metric's value by the trial's name; None if it was not measured."""
    histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Its evaluations by the trial's name."""


def known_points(study: Study, folder: StudyFolder) -> list[Point]:
    """All points of a list, or those that a search has suggested so far."""
    return folder.suggestions() if isinstance(study.search, OptunaSearch) else points_of(study)


def known_trials(study: Study, folder: StudyFolder) -> list[TrialSpec]:
    """The trials of these points, each once."""
    specs = [spec for point in known_points(study, folder) for spec in trials_of(study, point)]
    return list({spec.name: spec for spec in specs}.values())


def ended_trials(study: Study, folder: StudyFolder, specs: Sequence[TrialSpec]) -> Ended:
    """Which of these trials need not be trained any more, and what they measured.

    A trial that failed does: it is tried again. One that another scheduler stopped goes on.
    """
    scheduler = plain_scheduler(study)
    decisions = [each for each in folder.decisions() if each["kind"] == "stopped"]
    stopped = {each["trial"] for each in decisions if each["scheduler"] == scheduler}
    ended = Ended()
    for spec in specs:
        run_dir = folder.trial(spec)
        finished = state_of(run_dir) == "finished"
        if finished or spec.name in stopped:
            rows = history(run_dir)
            last = (finals(run_dir) if finished else rows[-1] if rows else None) or {}
            ended.values[spec.name] = last.get(study.metric)
            ended.histories[spec.name] = rows
    return ended


def check_same_meaning(study: Study, folder: StudyFolder) -> None:
    """Raise ConfigError where an earlier version trained trials by what their keys do not mean any more.

    They would stand in one table with others that learned otherwise.
    """
    for spec in known_trials(study, folder):
        file = RunFolder(folder.trial(spec)).config
        if not file.exists():
            continue
        values = read_config(file)
        meant = CONFIGS[spec.command].of_earlier(values, file)
        for key in meant.keys() - values.keys() - spec.values.keys():
            raise ConfigError(
                f"--resume: trial {spec.name} in {folder.path} was trained by an earlier version, with what "
                f"is {key}: {meant[key]} today; write that into the study's base, or start another study"
            )


def plain_scheduler(study: Study) -> dict[str, Any]:
    """The study's scheduler as decisions name it."""
    return dataclasses.asdict(study.scheduler)
