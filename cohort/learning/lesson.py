"""How the students of a host teach each other at a step: equations 9 and 11, or Algorithm 1.

Shapes: S students of the host, B batch, C classes.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from cohort.objectives.peer_sum import Peer

Item = TypeVar("Item")


class Pupil(Protocol):
    """One who takes part: a ``Learner``, or its part of a step that is captured."""

    def predict(self, step: int) -> Tensor:
        """The log-posterior [B, C] on the batch of ``step``, which waits for ``learn``."""
        ...

    def learn(self, step: int, peers: Sequence[Peer] = ()) -> object:
        """Backward and update, from the labels and the peers' log-posteriors [B, C], or sums of them."""
        ...

    def repredict(self, step: int) -> Tensor:
        """The log-posterior [B, C] of the same batch after the update."""
        ...


class Lesson:
    """Students in one process that learn from the same batches."""

    def __init__(self, pupils: Sequence[Pupil]) -> None:
        self._pupils = pupils
        self._shown: list[Tensor] = []

    def predict(self, step: int) -> Tensor:
        """Every student's log-posterior on the batch of ``step``, [S, B, C]."""
        self._shown = [pupil.predict(step) for pupil in self._pupils]
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
        for k, pupil in enumerate(self._pupils, start=len(before)):
            pupil.learn(step, others(everyone, k))

    def learn_in_turn(
        self, step: int, before: Sequence[Peer] = (), after: Sequence[Peer] = ()
    ) -> Tensor:
        """Algorithm 1: each learns from its peers' newest posteriors, then shows a new one.

        The cohort's last student needs not, for nobody learns after it. Returns what they show now,
        [S, B, C].
        """
        for own, pupil in enumerate(self._pupils):
            everyone: list[Peer] = [*before, *self._shown, *after]
            k = len(before) + own
            pupil.learn(step, others(everyone, k))
            if k + 1 < len(everyone):
                self._shown[own] = pupil.repredict(step)
        return torch.stack(self._shown)

    def advance(self, step: int, sequential: bool = False) -> None:
        """A whole step of students who have no other peers."""
        self.predict(step)
        if sequential:
            self.learn_in_turn(step)
        else:
            self.learn(step)


def others(items: Sequence[Item], index: int) -> list[Item]:
    """All but the item at ``index``: the peers of a student."""
    return [item for i, item in enumerate(items) if i != index]
