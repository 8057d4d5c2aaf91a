"""The cohort in one process, one student after another: simple, and the oracle of all others.

It reads like the paper's algorithm; on the CPU its students equal the actors' bit for bit.
"""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cohort.data.dataset import ImageDataset
from cohort.learning.build import build_learner
from cohort.learning.learner import Files, Learner
from cohort.learning.plan import TrainingPlan
from cohort.learning.process import lent_process
from cohort.learning.student_files import weights_sha256
from cohort.metrics.classification import entropy
from cohort.models.modules import count_parameters
from cohort.models.spec import Network
from cohort.objectives.mutual import MutualLearning
from cohort.runtime.cohort import HeldOut, Load, OnRecords, Stopping, others


class InProcessCohort:
    """A ``Cohort`` in this process, without Ray."""

    def __init__(
        self,
        networks: Sequence[Network],
        plan: TrainingPlan,
        dataset: ImageDataset,
        objective: MutualLearning,
        *,
        sequential: bool,
        threads: int,
        device: torch.device,
    ) -> None:
        self.dataset = dataset
        self.sequential = sequential
        self.students = tuple(range(len(networks)))
        self._process = contextlib.ExitStack()
        self._process.enter_context(lent_process(threads, plan.precision))
        self.learners: list[Learner] = [
            build_learner(network, plan, dataset, objective, student=student, device=device)
            for student, network in enumerate(networks)
        ]
        self.parameters = {
            student: count_parameters(learner.network)
            for student, learner in enumerate(self.learners)
        }

    def advance(self, start: int, stop: int, on_records: OnRecords, stopping: Stopping) -> int:
        """Train from ``start`` to ``stop`` steps done; less if ``stopping``."""
        for step in range(start, stop):
            posteriors = [learner.predict(step) for learner in self.learners]
            if self.sequential:
                self._learn_in_turn(step, posteriors)
            else:
                for k, learner in enumerate(self.learners):
                    learner.learn(step, others(posteriors, k))
            self._hand_over(on_records)
            if stopping():
                return step + 1
        return stop

    def _learn_in_turn(self, step: int, posteriors: list[Tensor]) -> None:
        """Algorithm 1 for K students: each learns from its peers' newest posteriors."""
        for k, learner in enumerate(self.learners):
            learner.learn(step, others(posteriors, k))
            if learner is not self.learners[-1]:
                posteriors[k] = learner.repredict(step)

    def flush_records(self, on_records: OnRecords) -> None:
        """Hand over the measurements of the steps since the last full window."""
        for learner in self.learners:
            learner.close_window()
        self._hand_over(on_records)

    def answers(self, split: HeldOut) -> dict[int, Tensor]:
        """What a split asks of each student: log-posteriors [N, C], or features [N, D]."""
        return {
            student: learner.answer_over(getattr(self.dataset, split))
            for student, learner in zip(self.students, self.learners, strict=True)
        }

    def train_entropies(self) -> dict[int, float]:
        """Mean entropy in nats of each student's evaluation posterior over the training split."""
        return {
            student: float(entropy(learner.answer_over(self.dataset.train)).mean())
            for student, learner in zip(self.students, self.learners, strict=True)
        }

    def snapshots(self) -> Iterator[tuple[int, Files]]:
        """Every student's state, one at a time."""
        for student, learner in zip(self.students, self.learners, strict=True):
            yield student, learner.snapshot()

    def restore(self, load: Load) -> None:
        """Put every student back to a checkpoint."""
        for student, learner in zip(self.students, self.learners, strict=True):
            learner.restore(load(student))

    def weights_sha256(self) -> dict[int, str]:
        """Hash of each student's parameters and buffers."""
        return {
            student: weights_sha256(learner.network)
            for student, learner in zip(self.students, self.learners, strict=True)
        }

    def casualties(self) -> tuple[int, ...]:
        """None: a student cannot die without its process, which is this one."""
        return ()

    def replace(self, students: Sequence[int]) -> None:
        """Replace nobody: no student dies here."""
        assert not students

    def drop(self, students: Sequence[int]) -> None:
        """Leave students out of the cohort, which goes on without them."""
        self.students = tuple(s for s in self.students if s not in students)
        self.learners = [learner for learner in self.learners if learner.student in self.students]

    def close(self) -> None:
        """Give the process back its torch threads, precision and random state."""
        self._process.close()

    def _hand_over(self, on_records: OnRecords) -> None:
        for student, learner in zip(self.students, self.learners, strict=True):
            on_records(student, learner.windows.drain())
