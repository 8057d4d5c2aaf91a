"""`train_cohort`: from a config to a trained, evaluated, resumable cohort in a run folder."""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cohort.config_file import load_config, to_yaml
from cohort.data.dataset import ImageDataset
from cohort.data.registry import load_dataset
from cohort.errors import ConfigError, RunError
from cohort.imports import one_line
from cohort.interruption import Interruption
from cohort.learning.checkpoint import Checkpoint, newest_checkpoint
from cohort.learning.plan import TrainingPlan, plan_training
from cohort.learning.student_files import load_student
from cohort.models.registry import build_network
from cohort.objectives.mutual import MutualLearning
from cohort.reporting.journal import Journal
from cohort.run_folder import RunFolder, atomic_write, default_path
from cohort.runtime.cohort import Cohort
from cohort.runtime.config import CohortConfig, extend, resolve
from cohort.runtime.coordinator import Coordinator
from cohort.runtime.recovery import RecoveryPolicy
from cohort.runtime.summary import Report, write_students

log = logging.getLogger(__name__)
OnStep = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class CohortResult:
    """A run that ended, and where it lies."""

    run_dir: Path
    summary: Mapping[str, Any]
    """summary.json."""
    alone: "CohortResult | None" = None
    """The same students trained without teacher, if the config asked for a baseline."""

    @property
    def interrupted(self) -> bool:
        """Whether a signal stopped the run before its last step."""
        return bool(self.summary["status"] == "interrupted")

    def student(self, number: int) -> torch.nn.Module:
        """A trained student in evaluation mode; see ``load_student``."""
        return load_student(RunFolder(self.run_dir).student(number))


def train_cohort(
    config: CohortConfig, *, on_step: OnStep | None = None, verbose: bool = False
) -> CohortResult:
    """Train a cohort, evaluate it, and write everything into a run folder.

    Args:
        config: what to train; keys that are None follow the data set's recipe.
        on_step: called with every record that goes into metrics.jsonl, one per student and
            ``log_every`` steps, and one per student and evaluation.
        verbose: show progress on the terminal.

    Raises:
        ConfigError: the config asks for something impossible; nothing was written.
        RunError: the run failed after it had begun; its last checkpoint is kept.
    """
    config = resolve(config)
    parts = _prepare(config)
    with _session(config), Interruption().listening() as interruption:
        config = dataclasses.replace(config, threads=config.threads or _threads(config))
        with _assemble(config, parts) as cohort:
            folder = RunFolder.create(config.run_dir or default_path(_name(config)))
            config = dataclasses.replace(config, run_dir=str(folder.path))
            atomic_write(folder.config, to_yaml(config))
            run = _Run(config, parts, cohort, folder, interruption, on_step, verbose)
            summary = run.from_start()
        alone = None
        if config.baseline and summary["status"] == "finished":
            alone = train_cohort(_alone(config), on_step=on_step, verbose=verbose)
    return CohortResult(folder.path, summary, alone)


def resume_cohort(
    run_dir: str | Path,
    *,
    given: Mapping[str, Any] | None = None,
    on_step: OnStep | None = None,
    verbose: bool = False,
) -> CohortResult:
    """Continue a run that was interrupted, killed, or is to go further than it did.

    ``given`` holds the keys to extend; see ``cohort.runtime.config.EXTENDABLE``. Raises as
    ``train_cohort`` does, and ConfigError for a folder without a valid checkpoint.
    """
    folder = RunFolder.open(run_dir)
    checkpoint = newest_checkpoint(folder.checkpoints)
    if checkpoint is None:
        raise ConfigError(
            f"--resume {run_dir}: no valid checkpoint in {folder.checkpoints}; "
            f"start the run again with --config {folder.config}"
        )
    config = extend(load_config(folder.config, CohortConfig), given or {}, str(run_dir))
    parts = _prepare(config)
    if checkpoint.step > parts.plan.total_steps:
        raise ConfigError(
            f"--resume {run_dir}: {checkpoint.step} steps are done, and --epochs and --steps "
            f"now allow {parts.plan.total_steps}; they may only extend the run"
        )
    with _session(config), Interruption().listening() as interruption:
        with _assemble(config, parts) as cohort:
            atomic_write(folder.config, to_yaml(config))
            run = _Run(config, parts, cohort, folder, interruption, on_step, verbose)
            summary = run.from_checkpoint(checkpoint)
        alone = None
        if config.baseline and summary["status"] == "finished":
            alone = _baseline_again(_alone(config), on_step, verbose)
    return CohortResult(folder.path, summary, alone)


@dataclass(frozen=True)
class _Parts:
    """What a config leads to before any process is started."""

    dataset: ImageDataset
    plan: TrainingPlan
    objective: MutualLearning
    largest_network: int


class _Run:
    """One run in its folder, from its first or a later step to its summary."""

    def __init__(
        self,
        config: CohortConfig,
        parts: _Parts,
        cohort: Cohort,
        folder: RunFolder,
        interruption: Interruption,
        on_step: OnStep | None,
        verbose: bool,
    ) -> None:
        self.config = config
        self.cohort = cohort
        self.folder = folder
        self.parts = parts
        self.journal = Journal(
            folder, parts.plan, config, on_step=on_step, verbose=verbose
        )
        self.coordinator = Coordinator(
            cohort,
            parts.plan,
            parts.dataset,
            folder,
            self.journal,
            RecoveryPolicy(config.on_failure, config.max_failures),
            keep=config.keep,
            stopping=interruption.requested,
        )

    def from_start(self) -> dict[str, Any]:
        """Train from step 0; returns the summary."""
        self.coordinator.save(0)
        return self._train(0)

    def from_checkpoint(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Train from where the checkpoint is; returns the summary."""
        return self._train(self.coordinator.resume(checkpoint))

    def _train(self, step: int) -> dict[str, Any]:
        report = Report(self.config, self.parts.plan, self.cohort, self.coordinator, self.journal)
        with contextlib.closing(self.journal):
            try:
                step = self.coordinator.train(step)
                finished = step == self.parts.plan.total_steps
                if finished:
                    write_students(self.folder, self.cohort, self.config, self.parts.dataset)
                summary = report.of("finished" if finished else "interrupted", step)
            except Exception as error:
                self.folder.write_summary(report.of_failure(error))
                self._explain(error)
        self.folder.write_summary(summary)
        return summary

    def _explain(self, error: Exception) -> None:
        if isinstance(error, RunError):
            raise error
        file = self.folder.path / "error.log"
        atomic_write(file, traceback_text(error))
        raise RunError(f"{one_line(error)} (details in {file})") from error


def _prepare(config: CohortConfig) -> _Parts:
    """Everything that can be refused without starting a process."""
    dataset = load_dataset(config, config.seed)
    plan = plan_training(config, len(dataset.train))
    sizes = [_size(network, dataset) for network in dict.fromkeys(config.networks)]
    objective = MutualLearning(
        teacher=config.teacher, temperature=config.temperature, weight=config.mimicry_weight
    )
    return _Parts(dataset, plan, objective, max(sizes))
