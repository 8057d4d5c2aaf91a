"""A cohort's run: from a config to students that are placed and trained; ``train_cohort``."""

import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from cohort.data.dataset import ImageDataset
from cohort.data.registry import dataset_label, load_dataset
from cohort.imports import written_name
from cohort.learning.build import build_learner
from cohort.learning.plan import plan_training
from cohort.objectives.mutual import MutualLearning
from cohort.reporting.tensorboard import summary_writer
from cohort.run.checkpoint import Checkpoint
from cohort.run.journal import OnStep
from cohort.run.owner import Owner
from cohort.run.start import Ready, Result, Run, check_restores, resume_run, start_run
from cohort.run.watcher import Watcher
from cohort.runtime.assembly import (
    Ingredients,
    assemble,
    parameters_of,
    session,
    threads_per_student,
)
from cohort.runtime.cohort import Cohort
from cohort.runtime.command import TRAIN
from cohort.runtime.config import CohortConfig
from cohort.runtime.coordinator import Coordinator
from cohort.runtime.recovery import RecoveryPolicy


def train_cohort(
    config: CohortConfig,
    *,
    on_step: OnStep | None = None,
    verbose: bool = False,
    watcher: Watcher | None = None,
) -> Result:
    """Train a cohort, evaluate it, and write everything into a run folder.

    Args:
        config: what to train; keys that are None follow the data set's recipe.
        on_step: called with every record that goes into metrics.jsonl: one per student and
            ``log_every`` steps, and one per student and evaluation.
        verbose: show progress on the terminal.
        watcher: told of checkpoints, and may stop the run.

    Raises:
        ConfigError: the config asks for something impossible; nothing was written.
        RunError: the run failed after it had begun; its last checkpoint is kept.
    """
    return start_run(TRAIN, config, on_step=on_step, verbose=verbose, watcher=watcher)


@dataclass(frozen=True, kw_only=True)
class CohortRun(Ingredients, Run):
    """A cohort's config, and what it leads to before any process is started."""

    def check_restores(self, checkpoint: Checkpoint) -> None:
        """Restore one student of each network, for the others are alike."""
        students = {self.networks[k]: k for k in checkpoint.students}
        for network, student in students.items():
            learner = build_learner(
                network,
                self.plan,
                self.dataset,
                self.objective,
                student=student,
                device=torch.device("cpu"),
            )
            check_restores(checkpoint, student, learner, self.config.run_dir)

    def session(self) -> AbstractContextManager[None]:
        """The Ray of students that are actors."""
        return session(self.config)

    @contextmanager
    def placed(self, places: Any) -> Iterator[Ready]:
        """Inside, the students are there, at step 0."""
        config = dataclasses.replace(self.config, threads=threads_per_student(self.config))
        run = dataclasses.replace(self, config=config)
        with assemble(run, places) as (cohort, notice):
            yield Ready(config, partial(run._coordinator, cohort), notice)

    def afterwards(self, result: Result, on_step: OnStep | None, verbose: bool) -> Result:
        """With the same students alone, if the config asks for that baseline."""
        if not self.config.baseline or result.summary["status"] != "finished":
            return result
        return dataclasses.replace(result, alone=self._train_alone(result, on_step, verbose))

    def _coordinator(self, cohort: Cohort, owner: Owner) -> Coordinator:
        policy = RecoveryPolicy(self.config.on_failure, self.config.max_failures)
        return Coordinator(cohort, self.networks, self.dataset, owner, policy)

    def _train_alone(self, result: Result, on_step: OnStep | None, verbose: bool) -> Result:
        """The same students, from the same start, without a teacher."""
        run_dir, config = result.run_dir / "alone", self.config
        if run_dir.exists():
            given = {
                key: getattr(config, key) for key in ("epochs", "steps", "students", "dataset")
            }
            return resume_run(TRAIN, run_dir, given, on_step=on_step, verbose=verbose)
        alone = dataclasses.replace(
            config, teacher="none", schedule="simultaneous", baseline=False, run_dir=str(run_dir)
        )
        return start_run(TRAIN, alone, on_step=on_step, verbose=verbose)


def prepare(config: CohortConfig, dataset: ImageDataset | None = None) -> CohortRun:
    """Read the data and try out the networks of a resolved config; see ``Command.prepare``."""
    if config.tensorboard:
        summary_writer()
    dataset = dataset or load_dataset(config, config.seed)
    plan = plan_training(config, len(dataset.train))
    sizes = [parameters_of(network, dataset) for network in dict.fromkeys(config.networks)]
    objective = MutualLearning(
        teacher=config.teacher, temperature=config.temperature, weight=config.mimicry_weight
    )
    alone = ", each alone" if config.teacher == "none" else ""
    return CohortRun(
        config=config,
        plan=plan,
        name=f"{dataset_label(config)}-k{config.k}-{config.teacher}",
        greeting=f"starting {config.k} students{alone}",
        networks=config.networks,
        names={k: written_name(network) for k, network in enumerate(config.networks)},
        largest_network=max(sizes),
        dataset=dataset,
        objective=objective,
    )
