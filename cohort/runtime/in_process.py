"""The cohort in this process: one host, and no Ray."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from cohort.data.dataset import ImageDataset
from cohort.learning.host import Host
from cohort.learning.learner import Files
from cohort.learning.plan import TrainingPlan
from cohort.learning.process import lent_process
from cohort.learning.stopwatch import PREDICT
from cohort.learning.student_files import weights_sha256
from cohort.metrics.classification import entropy
from cohort.models.modules import count_parameters
from cohort.models.spec import Network
from cohort.objectives.mutual import MutualLearning
from cohort.runtime.clock import Times
from cohort.runtime.cohort import HeldOut, Load, OnRecords, Stopping


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
        self.sequential = sequential
        self._process = contextlib.ExitStack()
        self._process.enter_context(lent_process(threads, plan.precision))
        self.host = Host(dict(enumerate(networks)), plan, dataset, objective, device=device)
        self.parameters = {
            learner.student: count_parameters(learner.network) for learner in self.host.learners
        }

    @property
    def students(self) -> tuple[int, ...]:
        """Numbers of the students that are left."""
        return self.host.students

    def advance(self, start: int, stop: int, on_records: OnRecords, stopping: Stopping) -> int:
        """Train from ``start`` to ``stop`` steps done; less if ``stopping``."""
        for step in range(start, stop):
            self.host.advance(step, self.sequential)
            self._hand_over(on_records)
            if stopping():
                return step + 1
        return stop

    def flush_records(self, on_records: OnRecords) -> None:
        """Hand over the measurements of the steps since the last full window."""
        self.host.close_windows()
        self._hand_over(on_records)

    def listen(self, tell: Callable[[str], None]) -> None:
        """Say nothing: there is no process to wait for."""

    def notices(self) -> list[str]:
        """Sentences for the user that came up since the last call."""
        return self.host.notices()

    def leaving(self) -> tuple[int, ...]:
        """None: who is told that this machine goes is this process."""
        return ()

    def answers(self, split: HeldOut) -> dict[int, Tensor]:
        """What a split asks of each student: log-posteriors [N, C], or features [N, D]."""
        return self.host.answers_over(getattr(self.host.dataset, split))

    def train_entropies(self) -> dict[int, float]:
        """Mean entropy in nats of each student's evaluation posterior over the training split."""
        answers = self.host.answers_over(self.host.dataset.train)
        return {student: float(entropy(answer).mean()) for student, answer in answers.items()}

    def snapshots(self) -> Iterator[tuple[int, Files]]:
        """Every student's state after the last step."""
        return iter([(student, self.host.snapshot(student)) for student in self.students])

    def restore(self, load: Load) -> None:
        """Put every student back to a checkpoint."""
        for student in self.students:
            self.host.restore(student, load(student))

    def weights_sha256(self) -> dict[int, str]:
        """Hash of each student's parameters and buffers."""
        return {learner.student: weights_sha256(learner.network) for learner in self.host.learners}

    def times(self) -> dict[tuple[int, ...], Times]:
        """Of this process, which waits for nobody: what it was busy with, if that can be told apart."""
        parts = self.host.spent()
        if PREDICT not in parts:
            return {}
        return {self.students: Times(sum(parts.values()), parts=parts)}

    def casualties(self) -> tuple[tuple[int, ...], ...]:
        """None: students cannot die without their process, which is this one."""
        return ()

    def replace(self, students: Sequence[int]) -> None:
        """Replace nobody: no student dies here."""
        assert not students

    def drop(self, students: Sequence[int]) -> None:
        """Leave students out of the cohort, which goes on without them."""
        self.host.keep([student for student in self.students if student not in students])

    def close(self) -> None:
        """Give the process back its torch threads, precision and random state."""
        self._process.close()

    def _hand_over(self, on_records: OnRecords) -> None:
        for student, records in self.host.drain().items():
            on_records(student, records)
