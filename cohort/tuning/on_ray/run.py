"""`run_study`: from a study to trained trials, a table and a figure, on Ray Tune."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cohort.config import check_address
from cohort.errors import FAILED, INTERRUPTED, SUCCESS
from cohort.files import atomic_write, refuse_uri
from cohort.run.interruption import Interruption
from cohort.runtime.own_ray import check_sockets, starts_ray
from cohort.runtime.session import ray_session
from cohort.tuning.demand import most_at_once
from cohort.tuning.file.check import points_to_check
from cohort.tuning.file.load import code_in_study, to_yaml
from cohort.tuning.folder import StudyFolder, default_path
from cohort.tuning.locks import only_session
from cohort.tuning.on_ray.placing import Placing, present_cluster, this_machine_alone
from cohort.tuning.on_ray.session import Session
from cohort.tuning.on_ray.trial import Setting, placed
from cohort.tuning.results.write import Results, print_results, write_results
from cohort.tuning.state import check_same_meaning, ended_trials, known_trials
from cohort.tuning.study import Study
from cohort.tuning.trials import prepared_of, trials_of


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
    trust_code: bool = False,
    verbose: bool = False,
) -> StudyResult:
    """Train the trials of a study, and write its tables and its figure.

    Args:
        study: from ``load_study``.
        study_dir: the study's folder, by default ``studies/NAME``.
        resume: go on with the study in that folder: trials that ended are not repeated, others go
            on from their checkpoints, and those that the study did not have are added.
        address: of a running Ray cluster, auto or host:port; by default, or by local, a Ray is started.
        data_root: where the data lie, if elsewhere than the study says.
        trust_code: run the code that files of other runs name, such as those of teachers, as that of
            a study that was loaded so.
        verbose: show progress and the summary on the terminal.

    Raises:
        ConfigError: the study asks for something impossible; nothing was written.
        RunError: a run that trials depend on failed.
    """
    check_address(address)
    refuse_uri(study_dir, "--study-dir")
    path = Path(study_dir or default_path(study.name)).absolute()
    _check_folder(study, path, resume)
    trusted = trust_code or bool(list(code_in_study(study)))
    setting = Setting(path, Path.cwd(), data_root, trusted)
    placing = Placing(
        this_machine_alone(), study.resources, setting.runs, lambda run: placed(run, setting)
    )
    if starts_ray(address):
        check_sockets()
        _most_at_once(study, placing)
    with ray_session(address), Interruption().listening() as interruption:
        placing = placing.on(present_cluster())
        at_once = _most_at_once(study, placing)
        text = to_yaml(study)
        folder = StudyFolder.open(path) if resume else StudyFolder.create(path, text)
        with only_session(path):
            atomic_write(folder.study, text)
            setting.stop_file.unlink(missing_ok=True)
            study = dataclasses.replace(study, max_concurrent=at_once)
            session = Session(study, folder, setting, placing, interruption, verbose)
            try:
                session.prepare()
                session.train()
            finally:
                setting.stop_file.unlink(missing_ok=True)
    return _conclude(session)


def _check_folder(study: Study, path: Path, resume: bool) -> None:
    """Raise ConfigError, before anything takes time, if the study cannot be put, or found, here."""
    if not resume:
        StudyFolder(path).check_free()
        return
    folder = StudyFolder.open(path)
    with only_session(path):
        check_same_meaning(study, folder)


def _most_at_once(study: Study, placing: Placing) -> int | None:
    """How many trials may run at a time; raises ConfigError if one of them never can."""
    # The others differ by their seeds alone.
    firsts = [trials_of(study, point)[0] for point in points_to_check(study)]
    demands = placing.check([*prepared_of(study)[:: len(study.seeds)], *firsts])
    limits = (study.max_concurrent, most_at_once(demands, placing.cluster))
    return min((limit for limit in limits if limit is not None), default=None)


def _conclude(session: Session) -> StudyResult:
    study, folder = session.study, session.folder
    specs = known_trials(study, folder)
    results = write_results(study, folder, specs, trust_code=session.setting.trust_code)
    interrupted, reasons = session.interruption.requested(), folder.failures()
    ended = ended_trials(study, folder, specs).values
    # Whoever goes on when the study does has not failed; without an interruption nobody does.
    left = [spec.name for spec in specs if spec.name not in ended]
    failed = tuple(name for name in left if name in reasons or not interrupted)
    if session.verbose:
        print_results(results, Console())
        for name in failed:
            print(f"failed: {name}: {reasons.get(name, 'Tune lost it; --resume goes on with it')}")
    return StudyResult(folder.path, results, interrupted, failed)
