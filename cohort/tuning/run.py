"""`run_study`: from a study to trained trials, a table and a figure, on Ray Tune. Needs ray."""

import dataclasses
import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ray.tune.schedulers import TrialScheduler
from rich.console import Console

from cohort.command_line import FAILED, INTERRUPTED, SUCCESS
from cohort.errors import ConfigError, RunError
from cohort.interruption import Interruption
from cohort.reporting.study_progress import StudyProgress
from cohort.run_folder import atomic_write
from cohort.runtime.session import ray_session
from cohort.tuning.check import points_to_check
from cohort.tuning.demand import most_at_once
from cohort.tuning.folder import StudyFolder, default_path
from cohort.tuning.measurements import state_of
from cohort.tuning.on_tune import fit
from cohort.tuning.placing import Placing, present_cluster
from cohort.tuning.results import Results, print_results, write_results
from cohort.tuning.schedulers import build_scheduler, replay
from cohort.tuning.search import OptunaPoints, PointSource, listed
from cohort.tuning.searcher import TrialSearcher, mean_value
from cohort.tuning.sections import OptunaSearch, Pbt, Study
from cohort.tuning.state import Ended, ended_trials, known_points, known_trials, present_values
from cohort.tuning.study import to_yaml
from cohort.tuning.trainable import Setting, placed
from cohort.tuning.trials import TrialSpec, prepared_of, trials_of
from cohort.tuning.watch import Watch


@dataclass(frozen=True)
class StudyResult:
    """A study that ended, or was interrupted, and where it lies."""

    study_dir: Path
    results: Results
    interrupted: bool
    failed: tuple[str, ...]
    """Trials that failed, by name."""

    @property
    def exit_code(self) -> int:
        """0: all trials ended; 1: some failed; 130: interrupted."""
        if self.interrupted:
            return INTERRUPTED
        return FAILED if self.failed else SUCCESS


def run_study(
    study: Study,
    *,
    study_dir: str | Path | None = None,
    resume: bool = False,
    address: str | None = None,
    data_root: str | None = None,
    verbose: bool = False,
) -> StudyResult:
    """Train the trials of a study, and write its tables and its figure.

    Args:
        study: from ``load_study``.
        study_dir: the study's folder, by default ``studies/NAME``.
        resume: go on with the study in that folder: trials that ended are not repeated, others go
            on from their checkpoints, and those that the study did not have are added.
        address: of a running Ray cluster, auto or host:port; by default a local Ray is started.
        data_root: where the data lie, if elsewhere than the study says.
        verbose: show progress and the summary on the terminal.

    Raises:
        ConfigError: the study asks for something impossible; nothing was written.
        RunError: a run that trials depend on failed.
    """
    path = Path(study_dir or default_path(study.name)).absolute()
    StudyFolder.open(path) if resume else StudyFolder(path).check_free()
    with ray_session(address), Interruption().listening() as interruption:
        setting = _setting(study, path, data_root)
        placing = Placing(
            present_cluster(), study.resources, setting.runs, lambda run: placed(run, setting)
        )
        at_once = _most_at_once(study, placing)
        text = to_yaml(study)
        folder = StudyFolder.open(path) if resume else StudyFolder.create(path, text)
        with _alone(folder):
            atomic_write(folder.study, text)
            setting.stop_file.unlink(missing_ok=True)
            study = dataclasses.replace(study, max_concurrent=at_once)
            session = _Session(study, folder, setting, placing, interruption, verbose)
            try:
                session.prepare()
                session.train()
            finally:
                setting.stop_file.unlink(missing_ok=True)
    return _conclude(session)


@dataclass(frozen=True)
class _Session:
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
        setting = dataclasses.replace(
            self.setting, folders=self.setting.runs, changing=(), every_epochs=0
        )
        self._say(f"first the {len(missing)} runs that trials learn from")
        with self._progress(len(specs), len(specs) - len(missing)) as progress:
            self._fit(missing, None, setting, progress)
        for spec in missing:
            if not self.interruption.requested() and state_of(self.folder.run(spec)) != "finished":
                raise RunError(
                    f"run {spec.name}, from which trials learn, did not finish: "
                    f"{_reasons(self.folder).get(spec.name, 'it gave no reason')}"
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
            _source(study, folder, ended),
            study,
            ended.values,
            stopping=self.interruption.requested,
            present=lambda spec: present_values(spec, folder, self.setting.changing),
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


def _setting(study: Study, path: Path, data_root: str | None) -> Setting:
    folder = StudyFolder(path)
    setting = Setting(folder.trials, folder.runs, path / "stopping", Path.cwd(), data_root)
    if not isinstance(study.scheduler, Pbt):
        return setting
    every, changing = study.scheduler.every_epochs, tuple(study.scheduler.mutate)
    return dataclasses.replace(setting, changing=changing, every_epochs=every)


def _most_at_once(study: Study, placing: Placing) -> int | None:
    """How many trials may run at a time; raises ConfigError if one of them never can."""
    firsts = [
        trials_of(study, point)[0] for point in points_to_check(study)
    ]  # other seeds take the same
    demands = placing.check([*prepared_of(study)[:: len(study.seeds)], *firsts])
    limits = (study.max_concurrent, most_at_once(demands, placing.cluster))
    return min((limit for limit in limits if limit is not None), default=None)


@contextmanager
def _alone(folder: StudyFolder) -> Iterator[None]:
    """Raises ConfigError if another process works on the study; released however this one ends."""
    with (folder.path / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"--study-dir {folder.path}: another process works on this study; wait for its end, "
                "or name another folder"
            ) from error
        yield


def _source(study: Study, folder: StudyFolder, ended: Ended) -> PointSource:
    points = known_points(study, folder)
    if not isinstance(study.search, OptunaSearch):
        return listed(points)
    values = [mean_value([ended.values.get(s.name) for s in trials_of(study, p)]) for p in points]
    return OptunaPoints(study, list(zip(points, values, strict=True)), folder.record_suggestion)


def _conclude(session: _Session) -> StudyResult:
    study, folder = session.study, session.folder
    specs = known_trials(study, folder)
    results = write_results(study, folder, specs)
    interrupted, reasons = session.interruption.requested(), _reasons(folder)
    ended = ended_trials(study, folder, specs).values
    # Whoever goes on when the study does has not failed; without an interruption nobody does.
    left = [spec.name for spec in specs if spec.name not in ended]
    failed = tuple(name for name in left if name in reasons or not interrupted)
    if session.verbose:
        print_results(results, Console())
        for name in failed:
            print(f"failed: {name}: {reasons.get(name, 'Tune lost it; --resume goes on with it')}")
    return StudyResult(folder.path, results, interrupted, failed)


def _reasons(folder: StudyFolder) -> dict[str, str]:
    """Why trials failed, by name."""
    failed = (each for each in folder.decisions() if each["kind"] == "failed")
    return {each["trial"]: each["reason"] for each in failed}
