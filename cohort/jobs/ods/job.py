"""ODS distillation made ready: the student, its teachers, and what they are measured against."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from cohort.analysis.ensembles import measure_members, measure_teachers, member_lines
from cohort.data.augment import Shard
from cohort.data.dataset import Split
from cohort.jobs.job import STUDENT, Evaluation, Job
from cohort.jobs.ods.config import LOSS_TERMS, OdsConfig
from cohort.jobs.teacher import TeacherFiles
from cohort.learning.build import student_for
from cohort.learning.data_parallel import Workers
from cohort.learning.learner import Learner
from cohort.learning.teachers import Teachers
from cohort.learning.teaching import LocalTeaching, TaughtStudent, Teaching, labels_only
from cohort.metrics.classification import mean_posterior
from cohort.metrics.deep_ensemble import equivalent_of
from cohort.models.normalised import Normalised
from cohort.models.spec import Network, WithMembers
from cohort.objectives.ods import EnsembleDistillation
from cohort.objectives.perturbation import InputPerturbation
from cohort.run.ending import prefixed


class TeachersElsewhere(Protocol):
    """The teachers, where they are not on every worker."""

    def teaching(self, shard: Shard, total_steps: int) -> Teaching:
        """The Teaching of the worker that learns from this shard of each batch."""
        ...

    def log_posteriors_over(self, split: Split) -> Tensor:
        """Every teacher's log-posterior over a split, [M, N, C]."""
        ...


@dataclass(frozen=True)
class OdsJob(Job):
    """An ensemble that teaches one student, made ready."""

    config: OdsConfig
    teachers: tuple[TeacherFiles, ...]
    pool: TeachersElsewhere | None = None
    """Where the teachers are, if not on every worker."""

    def build_learner(self, workers: Workers, device: torch.device) -> Learner:
        """The learner of one worker at step 0."""
        return self._learner(workers, device, self.teaching(workers, device))

    def restorable(self) -> Learner:
        """A learner without teachers, whom no checkpoint holds."""
        return self._learner(Workers(), torch.device("cpu"), labels_only)

    def _learner(self, workers: Workers, device: torch.device, teaching: Teaching) -> Learner:
        student = self.student()
        module = TaughtStudent(student).to(device)  # and with it the student
        assert self.config.method is not None, "the config is not resolved"
        return Learner(
            student,
            self.plan,
            self.dataset,
            EnsembleDistillation(
                method=self.config.method,
                alpha=self.config.alpha or 0.0,
                temperature=self.config.tau or 1.0,
            ),
            student=STUDENT,
            forward=module,
            inputs=teaching,
            workers=workers,
        )

    def student(self) -> Normalised:
        """The student at step 0: a batch ensemble, or a plain network."""
        config, dataset = self.config, self.dataset
        assert config.model is not None, "the config is not resolved"
        spec: Network = config.model
        if config.members is not None:
            spec = WithMembers(config.model, config.members, init=config.init)
        return student_for(dataset, spec, seed=config.seed, student=STUDENT, flag="--model")

    def teaching(self, workers: Workers, device: torch.device) -> Teaching:
        """Where a worker's perturbed images and their posteriors come from."""
        shard = workers.rank, workers.size
        if self.config.method == "labels":
            return labels_only
        if self.pool is not None:
            return self.pool.teaching(shard, self.plan.total_steps)
        return LocalTeaching(
            teachers=self.build_teachers(device),
            perturbation=self.perturbation,
            classes=self.dataset.num_classes,
            seed=self.config.seed,
            shard=shard,
        )

    def build_teachers(self, device: torch.device, chosen: Sequence[int] | None = None) -> Teachers:
        """All teachers, or those chosen, frozen, on a device."""
        numbers = range(len(self.teachers)) if chosen is None else chosen
        modules = [self.teachers[number].build() for number in numbers]
        return Teachers(modules, stacked=self.config.stacked_teachers).to(device)

    @property
    def perturbation(self) -> InputPerturbation:
        """How the teachers' inputs are perturbed."""
        config = self.config
        return InputPerturbation(
            kind=config.perturbation or "none",
            eta=config.eta or 0.0,
            temperature=config.tau or 1.0,
            norm=config.ods_norm or "rms",
        )

    @property
    def places_beside(self) -> int:
        """One for each actor of --teacher-pool."""
        return self.config.teacher_pool or 0

    def answer(self, outputs: Sequence[Tensor]) -> Tensor:
        """Logarithm of the members' mean posterior, [N, C]."""
        return mean_posterior(outputs)

    def measure(
        self, outputs: Sequence[Tensor], labels_N: Tensor, held_out: Sequence[Tensor] | None
    ) -> Evaluation:
        """Measurements of the members' mean posterior and of each member.

        Where there is a validation split, those of the mean posterior calibrated on it too.
        """
        validation = self.dataset.validation
        if held_out is None or validation is None:
            measured = measure_members(outputs, labels_N)
        else:
            labels = torch.from_numpy(validation.labels)
            measured = measure_members(outputs, labels_N, held_out, labels)
        return {STUDENT: measured}

    def conclude(self, learner: Learner, workers: Workers) -> dict[str, Any]:
        """The teachers' ensembles of each size, which the student is measured against."""
        ask = self._asking(learner)
        dataset = self.dataset
        splits = [split for split in (dataset.test, dataset.validation) if split is not None]
        # Each worker asks about its part; [N, M, C], so that parts follow each other.
        asked = [workers.gather(ask(workers.part_of(split)).transpose(0, 1)) for split in splits]
        if not workers.leads:
            return {}
        return measure_teachers(dataset, *(answers_NMC.transpose(0, 1) for answers_NMC in asked))

    def named_constants(self) -> dict[str, Any]:
        """The method and the constants of its loss, for summary.json."""
        keys = ("student", "method", *LOSS_TERMS)
        values = {key: getattr(self.config, key) for key in keys}
        return {key: value for key, value in values.items() if value is not None}

    def student_details(self, measured: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Every member's measurements, for the student's line in summary.json."""
        members = measured.pop("members", None)
        if members is None:
            return {}
        return {"members": member_lines(members)}

    def compared(self, measured: Mapping[str, Any], concluded: Mapping[str, Any]) -> dict[str, Any]:
        """To how many of the teachers the student is equivalent."""
        return equivalent_of(measured.get("cnll", math.nan), concluded["teachers"])

    def endings(self, evaluation: Evaluation, concluded: Mapping[str, Any]) -> dict[str, Any]:
        """The members together, who are the student, and the teachers."""
        measured = evaluation[STUDENT]
        ensemble = {name: measured[name] for name in ("accuracy", "nll", "brier", "ece")}
        return {"ensemble": prefixed(ensemble), **concluded}

    def _asking(self, learner: Learner) -> Callable[[Split], Tensor]:
        """The teachers' log-posteriors [M, N, C] over a split, wherever they are."""
        if self.pool is not None:
            return self.pool.log_posteriors_over
        teaching = learner.inputs
        if isinstance(teaching, LocalTeaching):
            teachers = teaching.teachers
        else:
            teachers = self.build_teachers(learner.device)
        return lambda split: teachers.log_posteriors_over(split, learner.device)
