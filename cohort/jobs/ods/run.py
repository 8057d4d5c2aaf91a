"""`ods_distill`: from a deep ensemble to one student that keeps its diversity, in a run folder."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from cohort.data.dataset import ImageDataset
from cohort.jobs.job import Job
from cohort.jobs.ods.command import ODS_DISTILL
from cohort.jobs.ods.config import OdsConfig
from cohort.jobs.ods.prepare import prepare
from cohort.jobs.placement import Placement
from cohort.jobs.run import JobRun
from cohort.run.journal import OnStep
from cohort.run.start import Result, start_run
from cohort.run.watcher import Watcher

if TYPE_CHECKING:  # it knows Ray
    from cohort.jobs.mailbox import Shared


def ods_distill(
    config: OdsConfig,
    *,
    on_step: OnStep | None = None,
    verbose: bool = False,
    watcher: Watcher | None = None,
) -> Result:
    """Distil a trained deep ensemble into one BatchEnsemble, or into a single network.

    Args:
        config: what to train; keys that are None follow the teachers' run, the recipe and the method.
        on_step: called with every record that goes into metrics.jsonl.
        verbose: show progress on the terminal.
        watcher: told of checkpoints, and may stop the run.

    Raises:
        ConfigError: the config asks for something impossible; nothing was written.
        RunError: the run failed after it had begun; its last checkpoint is kept.
    """
    return start_run(ODS_DISTILL, config, on_step=on_step, verbose=verbose, watcher=watcher)


def prepare_run(config: OdsConfig, dataset: ImageDataset | None = None) -> JobRun:
    """The run of a resolved config; see ``Command.prepare``."""
    assert config.model is not None, "the config is not resolved"
    method = f"{config.student}-{config.perturbation or config.method}"
    beside = None if config.teacher_pool is None else _teachers_in_a_pool
    return JobRun.of(prepare(config, dataset), method, config.model, beside)


def _teachers_in_a_pool(
    job: Job, placement: Placement, shared: "Shared"
) -> AbstractContextManager[Job]:
    from cohort.jobs.ods.pool import with_pool  # a job in this process never imports Ray

    return with_pool(job, placement, shared)
