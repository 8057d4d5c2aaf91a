"""Which part of a step takes how long; on a GPU by marks in its work, without waiting for it."""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from cohort.data.source import Source

BATCH, PREDICT, LEARN = PARTS = ("batch", "predict", "learn")
"""Of a student's step: to make the batch, forward, and the loss, backward and the update."""
FOLDED = 64
"""Pairs of marks that may wait to be read: finished ones are read without waiting for the device."""


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


def cuda_event() -> Event:
    """A mark for the current GPU."""
    event: Any = torch.cuda.Event  # its methods take more, all of which may be left out
    made: Event = event(enable_timing=True)
    return made


class Stopwatch:
    """Adds up the seconds that parts of steps take, by their names.

    Args:
        event: makes marks for a device on which a call returns at once, and the work goes on; where
            there is none, the call is timed.
        now: seconds that only go forward.
    """

    def __init__(
        self, event: Callable[[], Event] | None = None, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._event = event
        self._now = now
        self._marks: deque[tuple[str, Event, Event]] = deque()
        self._seconds: dict[str, float] = defaultdict(float)
        self._inside = 0.0

    @classmethod
    def of(cls, device: torch.device) -> "Stopwatch":
        """For the work of a device."""
        return cls(cuda_event if device.type == "cuda" else None)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Inside is work of the device that counts as this part."""
        if self._event is None:
            with self.on_host(name):
                yield
            return
        first, last = self._event(), self._event()
        first.record()
        yield
        last.record()
        self._marks.append((name, first, last))
        while len(self._marks) > FOLDED and self._marks[0][2].query():
            self._fold()

    @contextmanager
    def on_host(self, name: str) -> Iterator[None]:
        """Inside is work of this thread that counts as this part, and as no other that it lies in."""
        outside, self._inside = self._inside, 0.0
        begin = self._now()
        try:
            yield
        finally:
            spent = self._now() - begin
            self._seconds[name] += spent - self._inside
            self._inside = outside + spent

    def take(self) -> dict[str, float]:
        """Seconds of each part since the last call."""
        while self._marks:
            self._marks[0][2].synchronize()
            self._fold()
        seconds = dict(self._seconds)
        self.reset()
        return seconds

    def reset(self) -> None:
        """Forget what was measured."""
        self._seconds.clear()
        self._inside = 0.0
        self._marks.clear()

    def _fold(self) -> None:
        name, first, last = self._marks.popleft()
        self._seconds[name] += first.elapsed_time(last) / 1000


class TimedSource:
    """A source whose batches count as ``BATCH``; a GPU's are made while it computes."""

    def __init__(self, source: Source, stopwatch: Stopwatch) -> None:
        self.shard = source.shard
        self._source = source
        self._on_host = partial(stopwatch.on_host, BATCH)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """As the source gives it."""
        with self._on_host():
            return self._source.batch(step)
