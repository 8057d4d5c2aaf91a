"""The students that share a device, and with it a process: how they teach each other, step by step.

A cohort is one host or several. Within a host nothing travels; of other hosts' students it is given
the log-posteriors, or their sum. Of log-posteriors, on the CPU, come the same students, bit for bit,
however they are divided.

Shapes: S students of the host, B batch, C classes.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from cohort.data.dataset import ImageDataset, Split
from cohort.data.source import Newest
from cohort.learning.build import build_learner
from cohort.learning.learner import Files, Learner, training_source
from cohort.learning.plan import TrainingPlan
from cohort.learning.windows import Means
from cohort.models.spec import Network
from cohort.objectives.mutual import MutualLearning
from cohort.objectives.peer_sum import Peer

Item = TypeVar("Item")


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
        source = Newest(training_source(dataset, plan, device))
        self.learners: list[Learner] = [
            build_learner(
                network, plan, dataset, objective, student=student, device=device, source=source
            )
            for student, network in networks.items()
        ]
        self._shown: list[Tensor] = []

    @property
    def students(self) -> tuple[int, ...]:
        """Numbers of the students that are here."""
        return tuple(learner.student for learner in self.learners)

    def predict(self, step: int) -> Tensor:
        """Every student's log-posterior on the batch of ``step``, [S, B, C]."""
        self._shown = [learner.predict(step) for learner in self.learners]
        return torch.stack(self._shown)

    def learn(self, step: int, before: Sequence[Peer] = (), after: Sequence[Peer] = ()) -> None:
        """All learn at once, from what their peers have shown for ``step`` (equations 9 and 11).

        Args:
            step: of the prediction that waits.
            before: log-posteriors [B, C] of other hosts' students whose numbers come before these, or
                their sum.
            after: of those who come after.
        """
        everyone: list[Peer] = [*before, *self._shown, *after]
        for k, learner in enumerate(self.learners, start=len(before)):
            learner.learn(step, others(everyone, k))

    def learn_in_turn(
        self, step: int, before: Sequence[Peer] = (), after: Sequence[Peer] = ()
    ) -> Tensor:
        """Algorithm 1: each learns from its peers' newest posteriors, then shows a new one.

        The cohort's last student needs not, for nobody learns after it. Returns what they show now,
        [S, B, C].
        """
        for own, learner in enumerate(self.learners):
            everyone: list[Peer] = [*before, *self._shown, *after]
            k = len(before) + own
            learner.learn(step, others(everyone, k))
            if k + 1 < len(everyone):
                self._shown[own] = learner.repredict(step)
        return torch.stack(self._shown)

    def advance(self, step: int, sequential: bool) -> None:
        """A whole step of a cohort that has no other hosts."""
        self.predict(step)
        if sequential:
            self.learn_in_turn(step)
        else:
            self.learn(step)

    def read(self, dataset: ImageDataset) -> None:
        """Learn from these data from now on, through their feed if they have one."""
        self.dataset = dataset
        source = Newest(training_source(dataset, self.plan, self.device))
        for learner in self.learners:
            learner.source = source

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

    def keep(self, students: Sequence[int]) -> None:
        """Go on without all others."""
        self.learners = [learner for learner in self.learners if learner.student in students]

    def _learner(self, student: int) -> Learner:
        (learner,) = (each for each in self.learners if each.student == student)
        return learner


def others(items: Sequence[Item], index: int) -> list[Item]:
    """All but the item at ``index``: the peers of a student."""
    return [item for i, item in enumerate(items) if i != index]
