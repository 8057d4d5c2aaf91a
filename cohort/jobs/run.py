"""A job from its first step, or its last checkpoint, to its summary: on Ray or in this process."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cohort.data.registry import dataset_label
from cohort.errors import ConfigError
from cohort.jobs.config import JobConfig
from cohort.jobs.job import STUDENT, Job
from cohort.jobs.placement import Placement, place
from cohort.jobs.recorder import Recorder
from cohort.jobs.summary import conclude
from cohort.jobs.worker import work
from cohort.learning.data_parallel import Workers
from cohort.learning.student_files import load_student, own_factory
from cohort.models.spec import Network
from cohort.run.folder import RunFolder, default_path
from cohort.run.interruption import Interruption
from cohort.run.journal import Journal
from cohort.run.start import Resumed, check_extends, check_restores, write_config
from cohort.run.watcher import Nobody, Watcher

OnStep = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class JobResult:
    """A job that ended, and where it lies."""

    run_dir: Path
    summary: Mapping[str, Any]
    """summary.json."""
    network: Network
    """As the config had it."""

    @property
    def interrupted(self) -> bool:
        """Whether a signal stopped the run before its last step."""
        return bool(self.summary["status"] == "interrupted")

    def student(self) -> nn.Module:
        """The trained student in evaluation mode; see ``load_student``."""
        return load_student(RunFolder(self.run_dir).student(STUDENT), own_factory(self.network))


def run_job(
    job: Job,
    resumed: Resumed | None,
    *,
    network: Network,
    name: str,
    on_step: OnStep | None = None,
    verbose: bool = False,
    watcher: Watcher | None = None,
) -> JobResult:
    """Train, evaluate and write down.

    Args:
        job: what to train.
        resumed: the folder and the checkpoint to go on from.
        network: as the config has it; a factory of one's own may have no importable name.
        name: what kind of run it is, for the name of a folder that the user did not name.
        on_step: called with every record that goes into metrics.jsonl.
        verbose: show progress on the terminal.
        watcher: told of checkpoints, and may stop the run.

    Raises ConfigError before anything is written, RunError if the run failed.
    """
    config = job.config
    if resumed is not None:
        check_extends(resumed[1], job.plan, config.run_dir)
        check_restores(resumed[1], STUDENT, job.restorable(), config.run_dir)
    if verbose:
        print(f"starting {config.workers or 1} worker{'s' * (config.workers > 1)}", flush=True)
    with _session(config), Interruption().listening() as interruption:
        placement = _placement(job)
        folder = resumed[0] if resumed else _new_folder(config, name)
        with (
            folder.held(),
            Journal(
                folder,
                job.plan,
                {STUDENT: job.network},
                tensorboard=config.tensorboard,
                on_step=on_step,
                verbose=verbose,
            ) as journal,
        ):
            write_config(folder, config)
            recorder = Recorder(
                folder,
                journal,
                job.plan,
                resumed[1] if resumed else None,
                keep=config.keep,
                stopping=interruption.requested,
                watcher=watcher or Nobody(),
            )
            summary = conclude(recorder, job, lambda: _train(job, recorder, placement))
    return JobResult(folder.path, summary, network)


def _session(config: JobConfig) -> AbstractContextManager[None]:
    if config.workers == 0:
        return nullcontext()
    from cohort.runtime.session import ray_session  # a job in this process never imports Ray

    return ray_session(config.address)


def _placement(job: Job) -> Placement:
    config = job.config
    if config.workers == 0:
        return _here(config)
    from cohort.runtime.session import cluster_nodes

    return place(
        cluster_nodes(), config.workers, config.gpus, config.threads, beside=job.actors_beside
    )


def _here(config: JobConfig) -> Placement:
    """In this process: one GPU or none."""
    available = torch.cuda.device_count()
    if (config.gpus or 0) > min(available, 1):
        raise ConfigError(
            f"--gpus is {config.gpus} with --workers 0, which runs in one process on a machine with "
            f"{available} GPUs; use --gpus {min(available, 1)}, or --workers {config.gpus}"
        )
    threads = config.threads or os.cpu_count() or 1
    return Placement(0, bool(available) and config.gpus != 0, threads)


def _train(job: Job, recorder: Recorder, placement: Placement) -> None:
    if placement.workers == 0:
        _train_here(job, recorder, placement)
        return
    from cohort.jobs.on_ray import run_on_ray

    run_on_ray(job, recorder, placement)


def _train_here(job: Job, recorder: Recorder, placement: Placement) -> None:
    """In this process, which gets its torch threads and random state back."""
    threads, random_state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(placement.threads)
    try:
        device = torch.device("cuda" if placement.gpus else "cpu")
        work(job, Workers(), device, recorder)
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(random_state)


def _new_folder(config: JobConfig, name: str) -> RunFolder:
    return RunFolder.create(config.run_dir or default_path(f"{dataset_label(config)}-{name}"))
