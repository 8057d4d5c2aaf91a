"""`self_distill`: from a config to a network with trained, evaluated exits in a run folder."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cohort.config_file import to_yaml
from cohort.errors import ConfigError
from cohort.interruption import Interruption
from cohort.jobs.build import Ingredients, build_worker_learner, prepare
from cohort.jobs.config import Network, SelfDistillConfig, resolve
from cohort.jobs.placement import Placement, place
from cohort.jobs.recorder import Recorder
from cohort.jobs.summary import conclude
from cohort.jobs.work import work
from cohort.learning.data_parallel import Workers
from cohort.learning.student_files import load_student, own_factory
from cohort.reporting.journal import Journal
from cohort.run_folder import RunFolder, atomic_write, default_path
from cohort.runs import Resumed, check_extends, check_restores, dataset_label, reopen

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
        return load_student(RunFolder(self.run_dir).student(0), own_factory(self.network))


def self_distill(
    config: SelfDistillConfig, *, on_step: OnStep | None = None, verbose: bool = False
) -> JobResult:
    """Train a network with exits by self-distillation, or by a method it is compared with.

    Args:
        config: what to train; keys that are None follow the data set's recipe and the method.
        on_step: called with every record that goes into metrics.jsonl.
        verbose: show progress on the terminal.

    Raises:
        ConfigError: the config asks for something impossible; nothing was written.
        RunError: the run failed after it had begun; its last checkpoint is kept.
    """
    config = resolve(config)
    if config.run_dir is not None:
        RunFolder(config.run_dir).check_free()
    return _run(config, None, on_step, verbose)


def resume_self_distill(
    run_dir: str | Path,
    *,
    given: Mapping[str, Any] | None = None,
    on_step: OnStep | None = None,
    verbose: bool = False,
) -> JobResult:
    """Continue a job that was interrupted or killed, or is to go further than it did.

    ``given`` holds the keys to extend; see ``SelfDistillConfig.EXTENDABLE``. Raises as
    ``self_distill`` does, and ConfigError for a folder without a valid checkpoint.
    """
    config, resumed = reopen(run_dir, SelfDistillConfig, given or {})
    return _run(config, resumed, on_step, verbose)


def _run(
    config: SelfDistillConfig, resumed: Resumed | None, on_step: OnStep | None, verbose: bool
) -> JobResult:
    parts = prepare(config)
    if resumed is not None:
        check_extends(resumed[1], parts.plan, config.run_dir)
        learner = build_worker_learner(parts, Workers(), torch.device("cpu"))
        check_restores(resumed[1], 0, learner, config.run_dir)
    if verbose:
        print(f"starting {config.workers or 1} worker{'s' * (config.workers > 1)}", flush=True)
    with _session(config), Interruption().listening() as interruption:
        placement = _placement(config)
        folder = resumed[0] if resumed else _new_folder(config)
        # The text repeats the run elsewhere.
        atomic_write(folder.config, to_yaml(dataclasses.replace(config, run_dir=None)))
        with Journal(
            folder,
            parts.plan,
            {0: parts.network},
            tensorboard=config.tensorboard,
            on_step=on_step,
            verbose=verbose,
        ) as journal:
            recorder = Recorder(
                folder,
                journal,
                parts.plan,
                resumed[1] if resumed else None,
                keep=config.keep,
                stopping=interruption.requested,
            )
            summary = conclude(recorder, parts, lambda: _train(parts, recorder, placement))
    assert config.model is not None
    return JobResult(folder.path, summary, config.model)


def _session(config: SelfDistillConfig) -> AbstractContextManager[None]:
    if config.workers == 0:
        return nullcontext()
    from cohort.runtime.session import ray_session  # a job in this process never imports Ray

    return ray_session(config.address)


def _placement(config: SelfDistillConfig) -> Placement:
    if config.workers == 0:
        return _here(config)
    from cohort.runtime.session import cluster_nodes

    return place(cluster_nodes(), config.workers, config.gpus, config.threads)


def _here(config: SelfDistillConfig) -> Placement:
    """In this process: one GPU or none."""
    available = torch.cuda.device_count()
    if (config.gpus or 0) > min(available, 1):
        raise ConfigError(
            f"--gpus is {config.gpus} with --workers 0, which runs in one process on a machine with "
            f"{available} GPUs; use --gpus {min(available, 1)}, or --workers {config.gpus}"
        )
    threads = config.threads or os.cpu_count() or 1
    return Placement(0, bool(available) and config.gpus != 0, threads)


def _train(parts: Ingredients, recorder: Recorder, placement: Placement) -> None:
    if placement.workers == 0:
        _train_here(parts, recorder, placement)
        return
    from cohort.jobs.on_ray import run_on_ray

    run_on_ray(parts, recorder, placement)


def _train_here(parts: Ingredients, recorder: Recorder, placement: Placement) -> None:
    """In this process, which gets its torch threads and random state back."""
    threads, random_state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(placement.threads)
    try:
        device = torch.device("cuda" if placement.gpus else "cpu")
        work(parts, Workers(), device, recorder)
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(random_state)


def _new_folder(config: SelfDistillConfig) -> RunFolder:
    name = f"{dataset_label(config)}-{config.method}"
    return RunFolder.create(config.run_dir or default_path(name))
