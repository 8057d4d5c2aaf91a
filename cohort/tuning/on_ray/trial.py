"""What Ray Tune runs for every trial: one of the commands, in the trial's run folder."""

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.util.placement_group import get_current_placement_group

from cohort.commands import by_key
from cohort.config import RunConfig
from cohort.errors import ConfigError, RunError
from cohort.jobs.ods.config import OdsConfig
from cohort.run.checkpoint import newest_checkpoint
from cohort.run.folder import RunFolder
from cohort.run.start import Result, resume_run, start_run
from cohort.runtime.config import CohortConfig
from cohort.runtime.placement import Division, Share, contiguous
from cohort.runtime.reservation import Reservation
from cohort.trust import TRUST, refuse_keys
from cohort.tuning.folder import StudyFolder
from cohort.tuning.locks import at_work
from cohort.tuning.measurements import finals
from cohort.tuning.on_ray.reporter import Reporter
from cohort.tuning.trials import TrialSpec, config_of, referred


@dataclass(frozen=True)
class Setting:
    """What the trials of a study have in common; travels to them. All paths are absolute."""

    study_dir: Path
    home: Path
    """The folder to which a relative data_root refers."""
    data_root: str | None = None
    """Where the data lie, if elsewhere than the study says."""
    trust_code: bool = False
    """Whether the code that runs' files name may be run."""
    prepares: bool = False
    """Whether these are the runs that trials learn from."""

    @property
    def folders(self) -> Path:
        """Folder of the trials' run folders."""
        return self.runs if self.prepares else StudyFolder(self.study_dir).trials

    @property
    def runs(self) -> Path:
        """Folder of the prepared runs' run folders."""
        return StudyFolder(self.study_dir).runs

    @property
    def stop_file(self) -> Path:
        """The trials stop as soon as this exists."""
        return self.study_dir / "stopping"


def train_trial(config: Mapping[str, Any], setting: Setting) -> None:
    """Train one trial, from the start or from where its run folder stands.

    ``config`` holds ``trial``, a TrialSpec. What a run refuses or fails with is reported as
    ``ended: failed``, for it would come again; a process that dies of anything else is Tune's to
    start again.
    """
    spec = TrialSpec.from_dict(config["trial"])
    run_dir = setting.folders / spec.name
    reporter = Reporter(run_dir, setting.stop_file)
    with at_work(setting.study_dir):
        if not reporter.stopping():
            _train_and_report(setting, spec, RunFolder(run_dir), reporter)
    reporter.leave()


def _train_and_report(
    setting: Setting, spec: TrialSpec, folder: RunFolder, reporter: Reporter
) -> None:
    try:
        # Points that a search suggested were read from the study's folder.
        refuse_keys(spec.values, setting.study_dir, {TRUST: setting.trust_code})
        run = placed(config_of(spec, folder.path, setting.runs), setting)
        result = _train(run, spec, folder, reporter)
    except (ConfigError, RunError) as error:
        reporter.report({"ended": "failed", "reason": str(error)})
        return
    if result is not None and not result.interrupted:
        measured = finals(folder.path)
        assert measured is not None, "a run that finished has a summary"
        at = {"step": measured["steps"], "epoch": measured["epochs"]}
        reporter.report({**measured, **at, "total_epochs": at["epoch"], "ended": "finished"})


def placed(config: RunConfig, setting: Setting) -> RunConfig:
    """The config with the places of its data and weights, wherever the trial's process runs, and trust.

    Where the data of an ensemble of teachers lie is known to the teachers' run.
    """
    config = dataclasses.replace(config, trust_code=setting.trust_code)
    if config.pretrained is not None:
        files = (file and str(setting.home / file) for file in config.pretrained_files)
        config = dataclasses.replace(config, pretrained=",".join(file or "-" for file in files))
    of_teachers = isinstance(config, OdsConfig) and config.data_root == OdsConfig.data_root
    if of_teachers and setting.data_root is None:
        return config
    root = setting.home / (setting.data_root or config.data_root)
    return dataclasses.replace(config, data_root=str(root))


def _train(run: RunConfig, spec: TrialSpec, folder: RunFolder, reporter: Reporter) -> Result | None:
    """The result of the run; None if it was stopped before it could go on."""
    command = by_key(spec.command)
    checkpoint = newest_checkpoint(folder.checkpoints)
    if checkpoint is None:
        _clear(folder)
        run = _here(run)
        return start_run(
            command, run, on_step=reporter.recorded, watcher=reporter, places=_reservation(run)
        )
    reporter.repeat(checkpoint.step)
    if reporter.stopping():
        return None
    run = _here(run)
    return resume_run(
        command,
        folder.path,
        _given(run, spec),
        on_step=reporter.recorded,
        watcher=reporter,
        places=_reservation(run),
    )


def _clear(folder: RunFolder) -> None:
    """Remove what a run left that was killed before its first checkpoint."""
    if any(folder.checkpoints.glob("step_*")):
        raise RunError(
            f"no checkpoint in {folder.checkpoints} is whole any more; remove the folder"
        )
    shutil.rmtree(folder.path, ignore_errors=True)


def _given(run: RunConfig, spec: TrialSpec) -> dict[str, Any]:
    """What may be elsewhere than when the run was started: prepared runs, data, GPUs."""
    keys = [key for key, value in spec.values.items() if referred(value)]
    keys += [TRUST] if run.trust_code else []
    keys += ["data_root"] if Path(run.data_root).is_absolute() else []
    keys += ["gpus"] if run.in_this_process else []
    return {key: getattr(run, key) for key in keys}


def _here(run: RunConfig) -> RunConfig:
    """With the GPU that was reserved for the trial's own process, or with none.

    Without a reservation Ray hides no GPU, and the process would take what others reserved.
    """
    if not run.in_this_process:
        return run
    group = get_current_placement_group()
    gpus = group.bundle_specs[0].get("GPU", 0) if group else 0
    changed: dict[str, Any] = {"gpus": int(gpus > 0)}  # not a key of every run's
    return dataclasses.replace(run, **changed)


def _reservation(run: RunConfig) -> Reservation | None:
    """The students' places: all bundles of the trial's group but the first, its own."""
    if run.in_this_process or not isinstance(run, CohortConfig):
        return None
    group = get_current_placement_group()
    assert group is not None, "a cohort's trial reserves places for its students"
    _, *bundles = group.bundle_specs
    cpus, gpus, memory = (bundles[0].get(name, 0) for name in ("CPU", "GPU", "memory"))
    share = Share(cpus, gpus, int(memory))
    threads = run.threads or max(1, int(cpus))
    return Reservation(group, Division(contiguous(run.k, len(bundles)), share, threads), first=1)
