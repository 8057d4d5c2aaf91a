"""One session of training on a study: what trials learn from, then the trials."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from ray.tune.schedulers import TrialScheduler
from rich.console import Console

from cohort.errors import RunError
from cohort.run.interruption import Interruption
from cohort.tuning.folder import StudyFolder
from cohort.tuning.measurements import state_of
from cohort.tuning.on_ray.fit import fit
from cohort.tuning.on_ray.placing import Placing
from cohort.tuning.on_ray.schedulers import build_scheduler, replay
from cohort.tuning.on_ray.searcher import TrialSearcher, mean_value
from cohort.tuning.on_ray.trial import Setting
from cohort.tuning.on_ray.watch import Watch
from cohort.tuning.progress import StudyProgress
from cohort.tuning.search import OptunaPoints, PointSource, listed
from cohort.tuning.state import Ended, ended_trials, known_points, known_trials
from cohort.tuning.study import OptunaSearch, Study
from cohort.tuning.trials import TrialSpec, prepared_of, trials_of

AHEAD = 8
"""Trials of a list that wait beside those that run."""


@dataclass(frozen=True)
class Session:
    """One call of ``run_study``, ready to train."""

    study: Study
    """With the ``max_concurrent`` that the cluster allows."""
    folder: StudyFolder
    setting: Setting
    placing: Placing
    interruption: Interruption
    verbose: bool

    def prepare(self) -> None:
        """Train what trials learn from. Raises RunError if one of these runs fails."""
        specs = prepared_of(self.study)
        missing = [spec for spec in specs if state_of(self.folder.run(spec)) != "finished"]
        if not missing or self.interruption.requested():
            return
        setting = dataclasses.replace(self.setting, prepares=True)
        self._say(f"first the {len(missing)} runs that trials learn from")
        with self._progress(len(specs), len(specs) - len(missing)) as progress:
            self._fit(missing, None, setting, progress)
        for spec in missing:
            if not self.interruption.requested() and state_of(self.folder.run(spec)) != "finished":
                raise RunError(
                    f"run {spec.name}, from which trials learn, did not finish: "
                    f"{self.folder.failures().get(spec.name, 'it gave no reason')}"
                )

    def train(self) -> None:
        """Train the trials that have not ended, and those that a search adds."""
        study, folder, search = self.study, self.folder, self.study.search
        specs = known_trials(study, folder)
        ended = ended_trials(study, folder, specs)
        total = len(specs)
        if isinstance(search, OptunaSearch):
            total = search.samples * len(study.seeds)
        self._greet(specs, ended, total)
        if len(ended.values) == total or self.interruption.requested():
            return
        scheduler = build_scheduler(study)
        replay(scheduler, ended.histories)
        searcher = TrialSearcher(
            _source(study, folder, ended), study, ended.values, self.interruption.requested
        )
        with self._progress(total, len(ended.values)) as progress:
            for spec in specs:
                progress.known(spec.labels, spec.seed, ended.values.get(spec.name))
            self._fit(searcher, scheduler, self.setting, progress)

    def _fit(
        self,
        trials: TrialSearcher | Sequence[TrialSpec],
        scheduler: TrialScheduler | None,
        setting: Setting,
        progress: StudyProgress,
    ) -> None:
        fit(
            trials,
            scheduler,
            setting=setting,
            placing=self.placing,
            watch=Watch(self.study, self.folder, progress, self.interruption.requested),
            interruption=self.interruption,
            at_once=self.study.max_concurrent,
            # A search that learns from trials is not asked for more of them than can run.
            ahead=1 if isinstance(self.study.search, OptunaSearch) else AHEAD,
            max_failures=self.study.max_failures,
        )

    def _progress(self, total: int, recorded: int) -> StudyProgress:
        study, console = self.study, Console(quiet=not self.verbose)
        return StudyProgress(study.metric, study.mode, total, recorded=recorded, console=console)

    def _greet(self, specs: Sequence[TrialSpec], ended: Ended, total: int) -> None:
        """Say what there is to do, and what of the folder has no part in it."""
        begun = [s for s in specs if state_of(self.folder.trial(s)) != "new"]
        going_on = len(begun) - len(ended.values)
        self._say(
            f"study {self.study.name}: {total} trials, {len(ended.values)} ended, {going_on} to go on "
            f"with, {total - len(begun)} new"
        )
        names = {spec.name for spec in specs}
        others = [path.name for path in self.folder.trials.glob("*") if path.name not in names]
        if others:
            self._say(f"left alone: {len(others)} trials of other settings in {self.folder.trials}")

    def _say(self, sentence: str) -> None:
        if self.verbose:
            print(sentence, flush=True)


def _source(study: Study, folder: StudyFolder, ended: Ended) -> PointSource:
    points = known_points(study, folder)
    if not isinstance(study.search, OptunaSearch):
        return listed(points)
    values = [mean_value([ended.values.get(s.name) for s in trials_of(study, p)]) for p in points]
    return OptunaPoints(study, list(zip(points, values, strict=True)), folder.record_suggestion)
