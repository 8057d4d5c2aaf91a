"""`train_cohort`: from a config to a trained, evaluated, resumable cohort in a run folder."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from cohort.data.registry import dataset_label
from cohort.imports import written_name
from cohort.learning.build import build_learner
from cohort.learning.student_files import load_student
from cohort.models.spec import Network
from cohort.run.checkpoint import Checkpoint
from cohort.run.folder import RunFolder, default_path
from cohort.run.interruption import Interruption
from cohort.run.journal import Journal
from cohort.run.start import (
    Resumed,
    check_extends,
    check_restores,
    reopen,
    write_config,
)
from cohort.run.watcher import Nobody, Watcher
from cohort.runtime.assembly import Ingredients, assemble, prepare, session, threads_per_student
from cohort.runtime.config import CohortConfig, resolve
from cohort.runtime.coordinator import Coordinator
from cohort.runtime.recovery import RecoveryPolicy
from cohort.runtime.summary import conclude

if TYPE_CHECKING:
    from cohort.runtime.reservation import Reservation

OnStep = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class CohortResult:
    """A run that ended, and where it lies."""

    run_dir: Path
    summary: Mapping[str, Any]
    """summary.json."""
    networks: tuple[Network, ...]
    """Of the students, as the config had them."""
    alone: "CohortResult | None" = None
    """The same students trained without teacher, if the config asked for a baseline."""

    @property
    def interrupted(self) -> bool:
        """Whether a signal stopped the run before its last step."""
        ended = [self] if self.alone is None else [self, self.alone]
        return any(result.summary["status"] == "interrupted" for result in ended)

    def student(self, number: int) -> nn.Module:
        """A trained student in evaluation mode; see ``load_student``."""
        return load_student(RunFolder(self.run_dir).student(number), self.networks[number])


def train_cohort(
    config: CohortConfig,
    *,
    on_step: OnStep | None = None,
    verbose: bool = False,
    watcher: Watcher | None = None,
    reservation: "Reservation | None" = None,
) -> CohortResult:
    """Train a cohort, evaluate it, and write everything into a run folder.

    Args:
        config: what to train; keys that are None follow the data set's recipe.
        on_step: called with every record that goes into metrics.jsonl: one per student and
            ``log_every`` steps, and one per student and evaluation.
        verbose: show progress on the terminal.
        watcher: told of checkpoints, and may stop the run.
        reservation: places for the students on a Ray that is running; by default the cohort
            takes its share of the whole cluster.

    Raises:
        ConfigError: the config asks for something impossible; nothing was written.
        RunError: the run failed after it had begun; its last checkpoint is kept.
    """
    config = resolve(config)
    if config.run_dir is not None:
        RunFolder(config.run_dir).check_free()
    return _run(config, None, on_step, verbose, watcher, reservation)


def resume_cohort(
    run_dir: str | Path,
    *,
    given: Mapping[str, Any] | None = None,
    on_step: OnStep | None = None,
    verbose: bool = False,
    watcher: Watcher | None = None,
    reservation: "Reservation | None" = None,
) -> CohortResult:
    """Continue a run that was interrupted or killed, or is to go further than it did.

    ``given`` holds the keys to extend; see ``CohortConfig.EXTENDABLE``. Raises as
    ``train_cohort`` does, and ConfigError for a folder without a valid checkpoint.
    """
    config, resumed = reopen(run_dir, CohortConfig, given or {})
    return _run(config, resumed, on_step, verbose, watcher, reservation)


def _run(
    config: CohortConfig,
    resumed: Resumed | None,
    on_step: OnStep | None,
    verbose: bool,
    watcher: Watcher | None,
    reservation: "Reservation | None",
) -> CohortResult:
    parts = prepare(config)
    if resumed is not None:
        check_extends(resumed[1], parts.plan, config.run_dir)
        _check_restores(config, parts, resumed[1])
    if verbose:
        how = ", each alone" if config.teacher == "none" else ""
        print(f"starting {config.k} students{how}", flush=True)  # it takes seconds
    with session(config), Interruption().listening() as interruption:
        config = dataclasses.replace(config, threads=threads_per_student(config))
        with assemble(config, parts, reservation) as (cohort, notice):
            folder = resumed[0] if resumed else _new_folder(config)
            names = {k: written_name(network) for k, network in enumerate(config.networks)}
            with (
                folder.held(),
                Journal(
                    folder,
                    parts.plan,
                    names,
                    tensorboard=config.tensorboard,
                    on_step=on_step,
                    verbose=verbose,
                ) as journal,
            ):
                write_config(folder, config)
                if notice:
                    journal.notice(notice)
                coordinator = Coordinator(
                    cohort,
                    parts.plan,
                    parts.dataset,
                    folder,
                    journal,
                    RecoveryPolicy(config.on_failure, config.max_failures),
                    keep=config.keep,
                    stopping=interruption.requested,
                    watcher=watcher or Nobody(),
                )
                summary = conclude(coordinator, config, resumed[1] if resumed else None)
        alone = None
        if config.baseline and summary["status"] == "finished":
            alone = _train_alone(config, folder, on_step, verbose)
    return CohortResult(folder.path, summary, config.networks, alone)


def _check_restores(config: CohortConfig, parts: Ingredients, checkpoint: Checkpoint) -> None:
    """One student of each network, for the others are alike."""
    students = {config.networks[k]: k for k in checkpoint.students}
    for network, student in students.items():
        learner = build_learner(
            network,
            parts.plan,
            parts.dataset,
            parts.objective,
            student=student,
            device=torch.device("cpu"),
        )
        check_restores(checkpoint, student, learner, config.run_dir)


def _new_folder(config: CohortConfig) -> RunFolder:
    name = f"{dataset_label(config)}-k{config.k}-{config.teacher}"
    return RunFolder.create(config.run_dir or default_path(name))


def _train_alone(
    config: CohortConfig, folder: RunFolder, on_step: OnStep | None, verbose: bool
) -> CohortResult:
    """The same students, from the same start, without a teacher."""
    run_dir = folder.path / "alone"
    if run_dir.exists():
        same = {key: getattr(config, key) for key in ("epochs", "steps", "students", "dataset")}
        return resume_cohort(run_dir, given=same, on_step=on_step, verbose=verbose)
    alone = dataclasses.replace(
        config, teacher="none", schedule="simultaneous", baseline=False, run_dir=str(run_dir)
    )
    return train_cohort(alone, on_step=on_step, verbose=verbose)
