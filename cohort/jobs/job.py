"""What the kinds of jobs differ in: the learner, what is measured of it, and what is written down."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cohort.data.dataset import ImageDataset, Search, Split
from cohort.jobs.config import JobConfig
from cohort.learning.data_parallel import Workers
from cohort.learning.learner import Learner
from cohort.learning.measuring import Measuring
from cohort.learning.plan import TrainingPlan
from cohort.models.normalised import Normalised

Evaluation = dict[int | str, dict[str, Any]]
"""Measurements of the student, under its number, and of ensembles by their names."""
STUDENT = 0


@dataclass(frozen=True)
class Job(ABC):
    """A job made ready: all that a worker needs; travels to it."""

    config: JobConfig
    dataset: ImageDataset
    plan: TrainingPlan
    network: str
    """How the student's network is written down."""
    parameters: int

    @abstractmethod
    def build_learner(self, workers: Workers, device: torch.device) -> Learner:
        """The learner of one worker at step 0: a pure function of the job."""

    def restorable(self) -> Learner:
        """A learner to try a checkpoint on, in one process; it need not be able to learn."""
        return self.build_learner(Workers(), torch.device("cpu"))

    @abstractmethod
    def student(self) -> Normalised:
        """The student at step 0."""

    @abstractmethod
    def answer(self, outputs: Sequence[Tensor]) -> Tensor:
        """The student's log-posterior [N, C], from those of all its exits or members."""

    def evaluate(
        self,
        split: Split,
        answers: Sequence[Tensor],
        held_out: Sequence[Tensor] | None,
        device: torch.device,
    ) -> Evaluation:
        """Measurements of the answers to a split, log-posteriors [N, C], or features [N, D] of a ``Search``.

        ``held_out`` are those to the validation split, if there is one. Features are compared on
        ``device``; the student alone has some, so they are its ensemble's too.
        """
        if isinstance(split, Search):
            measured = Measuring(self.config.distance, device).of(split, answers[-1])
            return {STUDENT: measured, "ensemble": measured}
        return self.measure(answers, torch.from_numpy(split.labels), held_out)

    @abstractmethod
    def measure(
        self, outputs: Sequence[Tensor], labels_N: Tensor, held_out: Sequence[Tensor] | None
    ) -> Evaluation:
        """Measurements of log-posteriors [N, C] of all exits or members on a split.

        ``held_out`` are those on the validation split, if there is one.
        """

    def conclude(self, learner: Learner, workers: Workers) -> dict[str, Any]:
        """What is measured once, after the last step; every worker calls it, the leader's counts."""
        return {}

    @abstractmethod
    def named_constants(self) -> dict[str, Any]:
        """What summary.json says of the method."""

    def student_details(self, measured: dict[str, Any], folder: Path) -> dict[str, Any]:
        """What the student's line in summary.json has besides its measurements.

        Takes out of ``measured`` what is written otherwise; ``folder`` holds the trained student.
        """
        return {}

    def compared(self, measured: Mapping[str, Any], concluded: Mapping[str, Any]) -> dict[str, Any]:
        """What a student's measurements are worth beside what ``conclude`` measured."""
        return {}

    def endings(self, evaluation: Evaluation, concluded: Mapping[str, Any]) -> dict[str, Any]:
        """What summary.json has at its end, besides students and ensemble."""
        return {}

    @property
    def places_beside(self) -> int:
        """Cores or GPUs that the job takes on the cluster beside those of its workers."""
        return 0
