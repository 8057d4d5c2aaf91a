"""How long a host computes and how long it waits for others, at two readings of a clock a step.

Waiting is all that lies between the host's own work: for peers to compute, and for Ray or the group
to bring what they show. A host that computes longest waits least; the others wait for it.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from cohort.learning.stopwatch import Event, Stopwatch, cuda_event

PEERS = "peers"
"""What is waited for within a task."""


@dataclass(frozen=True)
class Times:
    """Seconds of training of one host."""

    busy: float = 0.0
    waited: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)
    """What it was busy with, as far as that is told apart: see ``cohort.learning.stopwatch``."""

    def __add__(self, other: "Times") -> "Times":
        names = {**self.parts, **other.parts}
        parts = {name: self.parts.get(name, 0.0) + other.parts.get(name, 0.0) for name in names}
        return Times(self.busy + other.busy, self.waited + other.waited, parts)


class Clock:
    """A host's time, read between advances.

    Args:
        event: where a group exchanges on the device (NCCL), for there a call returns at once and the
            device waits: its time is measured there, by events, without waiting for it.
        now: seconds that only go forward.
    """

    def __init__(
        self, event: Callable[[], Event] | None = None, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._now = now
        self._left: float | None = None
        self._within = Stopwatch(event, now)
        self.reset()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Inside is a task of a step; between two of them the host waits."""
        begin = self._now()
        if self._left is not None:
            self._between += begin - self._left
        try:
            yield
        finally:
            self._left = self._now()
            self._worked += self._left - begin

    def waiting(self) -> AbstractContextManager[None]:
        """Inside, within a task, the host waits for its peers."""
        return self._within.part(PEERS)

    @classmethod
    def of(cls, backend: str) -> "Clock":
        """For a group of torch.distributed with this backend."""
        return cls(cuda_event if backend == "nccl" else None)

    def take(self) -> Times:
        """The times since the last call; what follows until the next task is neither."""
        within = self._within.take().get(PEERS, 0.0)
        times = Times(self._worked - within, self._between + within)
        self.reset()
        return times

    def reset(self) -> None:
        """Forget what was measured."""
        self._worked = self._between = 0.0
        self._left = None
        self._within.reset()
