"""A cohort's run: from a config to students that are placed and trained."""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from cohort.data.dataset import ImageDataset, Search
from cohort.data.registry import dataset_label, load_dataset
from cohort.errors import ConfigError
from cohort.imports import written_name
from cohort.learning.build import build_learner, student_for
from cohort.learning.measuring import Measuring, check_measurable
from cohort.learning.plan import check_batch, plan_training
from cohort.models.normalised import Normalised
from cohort.objectives.mimicry import divergence_of
from cohort.objectives.mutual import MutualLearning
from cohort.run.checkpoint import Checkpoint
from cohort.run.owner import Owner
from cohort.run.ready import Ready, Run
from cohort.run.restoring import check_restores
from cohort.runtime.assembly import Ingredients, assemble, check_fits_here, parameters_of, session
from cohort.runtime.assembly import check_here as check_here
from cohort.runtime.cohort import Cohort
from cohort.runtime.config import CohortConfig
from cohort.runtime.config import resolve as resolve
from cohort.runtime.coordinator import Coordinator
from cohort.runtime.own_ray import ray_to_start
from cohort.runtime.recovery import RecoveryPolicy


@dataclass(frozen=True, kw_only=True)
class CohortRun(Ingredients, Run):
    """A cohort's config, and what it leads to before any process is started."""

    def check_restores(self, checkpoint: Checkpoint) -> None:
        """Restore every student, those of one network one after another into one learner."""
        self._check_known(checkpoint)
        for network in dict.fromkeys(self.networks[k] for k in checkpoint.students):
            students = [k for k in checkpoint.students if self.networks[k] == network]
            learner = build_learner(
                network,
                self.plan,
                self.dataset,
                self.objective,
                student=students[0],
                device=torch.device("cpu"),
            )
            for student in students:
                check_restores(checkpoint, student, learner, self.config.run_dir)

    def _check_known(self, checkpoint: Checkpoint) -> None:
        """Raise ConfigError for students that the cohort does not have."""
        for student in checkpoint.students:
            if student not in range(self.config.k):
                raise ConfigError(
                    f"--resume {self.config.run_dir}: {checkpoint.path} has a student {student}, but "
                    f"{self.config.run_dir}/config.yaml has k: {self.config.k}; put there what was trained"
                )

    def student(self, number: int) -> Normalised:
        """A student at step 0."""
        return student_for(self.dataset, self.networks[number], seed=self.plan.seed, student=number)

    def check_fits_here(self) -> None:
        """Raise ConfigError for networks that this machine has no memory for, if it is to train them."""
        check_fits_here(self)

    def ray_to_start(self) -> str | None:
        """A Ray of the run's own, or the cluster that it joins."""
        return None if self.config.in_this_process else ray_to_start(self.config.address)

    def session(self) -> AbstractContextManager[None]:
        """The Ray of students that are actors."""
        return session(self.config)

    @contextmanager
    def placed(self, places: Any) -> Iterator[Ready]:
        """Inside, the students are there, at step 0."""
        with assemble(self, places) as assembled:
            config = dataclasses.replace(self.config, threads=assembled.threads)
            run = dataclasses.replace(self, config=config)
            yield Ready(config, partial(run._coordinator, assembled.cohort), assembled.notice)

    def baseline(self) -> tuple[CohortConfig, Sequence[str]] | None:
        """The same students, from the same start, without a teacher, if the config asks for that."""
        if not self.config.baseline:
            return None
        alone = dataclasses.replace(
            self.config,
            teacher="none",
            mimicry="kl",
            mimicry_beta=None,
            standardise=False,
            schedule="simultaneous",
            aggregate="auto",
            wire="fp32",
            baseline=False,
        )
        return alone, ("epochs", "steps", "students", "dataset")

    def _coordinator(self, cohort: Cohort, owner: Owner) -> Coordinator:
        policy = RecoveryPolicy(self.config.on_failure, self.config.max_failures)
        on_gpu = torch.cuda.is_available() and self.config.gpus != 0
        measuring = Measuring(self.config.distance, torch.device("cuda" if on_gpu else "cpu"))
        return Coordinator(
            cohort,
            self.networks,
            self.dataset,
            owner,
            policy,
            measuring,
            in_turn=self.config.schedule == "sequential",
        )


def prepare(config: CohortConfig, dataset: ImageDataset | None = None) -> CohortRun:
    """Read the data and try out the networks of a resolved config; see ``Command.prepare``."""
    if config.in_this_process:
        check_here(config)
    dataset = dataset or load_dataset(config, config.seed)
    plan = plan_training(config, len(dataset.train))
    sizes = [parameters_of(network, dataset) for network in dict.fromkeys(config.networks)]
    check_batch(plan, dataset)
    _check_answers(config, dataset)
    objective = MutualLearning(
        teacher=config.teacher,
        temperature=config.temperature,
        weight=config.mimicry_weight,
        divergence=divergence_of(config.mimicry, config.mimicry_beta),
        standardise=config.standardise,
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


def _check_answers(config: CohortConfig, dataset: ImageDataset) -> None:
    """Raise ConfigError for a student without features, if people are to be found by them."""
    for network in dict.fromkeys(config.networks) if isinstance(dataset.test, Search) else ():
        student = student_for(dataset, network, seed=config.seed, student=0)
        check_measurable(student, dataset, network, flag="--students")
