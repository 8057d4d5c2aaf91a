"""How long a host computes and how long it waits for others, at two readings of a clock a step.

Waiting is all that lies between the host's own work: for peers to compute, and for Ray or the group
to bring what they show. A host that computes longest waits least; the others wait for it.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch

FOLDED = 64
"""Pairs of events that may wait to be read: finished ones are read without waiting for the device."""


@dataclass(frozen=True)
class Times:
    """Seconds of training of one host."""

    busy: float = 0.0
    waited: float = 0.0

    def __add__(self, other: "Times") -> "Times":
        return Times(self.busy + other.busy, self.waited + other.waited)


class Event(Protocol):
    """A mark in the work of a device, as ``torch.cuda.Event`` makes with ``enable_timing``."""

    def record(self) -> None:
        """Put it behind all work that was given to the device."""
        ...

    def query(self) -> bool:
        """Whether the device has come to it."""
        ...

    def synchronize(self) -> None:
        """Wait until it has."""
        ...

    def elapsed_time(self, end_event: "Event") -> float:
        """Milliseconds on the device from this to a later one."""
        ...


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
        self._event = event
        self._now = now
        self._left: float | None = None
        self._marks: deque[tuple[Event, Event]] = deque()
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

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside, within a task, the host waits for its peers."""
        if self._event is None:
            begin = self._now()
            yield
            self._within += self._now() - begin
            return
        first, last = self._event(), self._event()
        first.record()
        yield
        last.record()
        self._marks.append((first, last))
        while len(self._marks) > FOLDED and self._marks[0][1].query():
            self._fold()

    @classmethod
    def of(cls, backend: str) -> "Clock":
        """For a group of torch.distributed with this backend."""
        event: Any = torch.cuda.Event  # its methods take more, all of which may be left out
        return cls(partial(event, enable_timing=True) if backend == "nccl" else None)

    def take(self) -> Times:
        """The times since the last call; what follows until the next task is neither."""
        while self._marks:
            self._marks[0][1].synchronize()
            self._fold()
        times = Times(self._worked - self._within, self._between + self._within)
        self.reset()
        return times

    def reset(self) -> None:
        """Forget what was measured."""
        self._worked = self._between = self._within = 0.0
        self._left = None
        self._marks.clear()

    def _fold(self) -> None:
        first, last = self._marks.popleft()
        self._within += first.elapsed_time(last) / 1000
