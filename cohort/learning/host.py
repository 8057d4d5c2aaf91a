"""The students that share a device, and with it a process: how they teach each other, step by step.

A cohort is one host or several. Within a host nothing travels; of other hosts' students it is given
the log-posteriors, or their sum. Of log-posteriors, on the CPU, come the same students, bit for bit,
however they are divided.

Shapes: S students of the host, B batch, C classes.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from cohort.data.dataset import ImageDataset, Split
from cohort.data.source import Newest
from cohort.learning.build import build_learner
from cohort.learning.learner import Files, Learner, training_source
from cohort.learning.lessons import lessons_for
from cohort.learning.plan import TrainingPlan
from cohort.learning.stopwatch import Stopwatch, TimedSource
from cohort.learning.windows import Means
from cohort.models.spec import Network
from cohort.objectives.mutual import MutualLearning
from cohort.objectives.peer_sum import Peer


class Host:
    """Students at step 0 that learn from the same batches, each made once for all of them.

    Args:
        networks: by the numbers of the students, in order.
        plan: how they are trained.
        dataset: what they learn from.
        objective: the loss of each.
        device: where they live.
    """

    def __init__(
        self,
        networks: Mapping[int, Network],
        plan: TrainingPlan,
        dataset: ImageDataset,
        objective: MutualLearning,
        *,
        device: torch.device,
    ) -> None:
        self.plan = plan
        self.device = device
        self.dataset = dataset
        self._stopwatch = Stopwatch.of(device)
        source = self._source()
        self.learners: list[Learner] = [
            build_learner(
                network, plan, dataset, objective, student=student, device=device, source=source
            )
            for student, network in networks.items()
        ]
        self._lessons = lessons_for(self.learners, stopwatch=self._stopwatch)

    @property
    def students(self) -> tuple[int, ...]:
        """Numbers of the students that are here."""
        return tuple(learner.student for learner in self.learners)

    def predict(self, step: int) -> Tensor:
        """As ``Lesson.predict``."""
        return self._lessons.predict(step)

    def learn(self, step: int, before: Sequence[Peer] = (), after: Sequence[Peer] = ()) -> None:
        """As ``Lesson.learn``."""
        self._lessons.learn(step, before, after)

    def learn_in_turn(
        self, step: int, before: Sequence[Peer] = (), after: Sequence[Peer] = ()
    ) -> Tensor:
        """As ``Lesson.learn_in_turn``."""
        return self._lessons.learn_in_turn(step, before, after)

    def advance(self, step: int, sequential: bool) -> None:
        """A whole step of a cohort that has no other hosts."""
        self._lessons.advance(step, sequential)

    def notices(self) -> list[str]:
        """Sentences for the user that came up since the last call."""
        return self._lessons.notices()

    def read(self, dataset: ImageDataset) -> None:
        """Learn from these data from now on, through their feed if they have one."""
        self.dataset = dataset
        source = self._source()
        for learner in self.learners:
            learner.read(source)
        self._lessons.renew(self.learners)

    def spent(self) -> dict[str, float]:
        """Seconds of each of the ``PARTS`` of steps since the last call, where they were told apart."""
        return self._stopwatch.take()

    def close_windows(self) -> None:
        """End every student's window of measurements here, full or not."""
        for learner in self.learners:
            learner.close_window()

    def drain(self) -> dict[int, list[Means]]:
        """Every student's measurements that became due since the last call."""
        return {learner.student: learner.windows.drain() for learner in self.learners}

    def answers_over(self, split: Split) -> dict[int, Tensor]:
        """What a split asks of each student, on the CPU: see ``Learner.answer_over``."""
        return {learner.student: learner.answer_over(split) for learner in self.learners}

    def snapshot(self, student: int) -> Files:
        """A student's state after the last step, as files."""
        return self._learner(student).snapshot()

    def restore(self, student: int, files: Files) -> None:
        """Put a student back to a snapshot of it."""
        self._learner(student).restore(files)
        self._lessons.renew(self.learners)
        self._stopwatch.reset()

    def keep(self, students: Sequence[int]) -> None:
        """Go on without all others."""
        self.learners = [learner for learner in self.learners if learner.student in students]
        self._lessons.renew(self.learners)

    def _source(self) -> Newest:
        source = training_source(self.dataset, self.plan, self.device)
        return Newest(TimedSource(source, self._stopwatch))

    def _learner(self, student: int) -> Learner:
        (learner,) = (each for each in self.learners if each.student == student)
        return learner
