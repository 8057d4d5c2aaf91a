"""What was submitted and has not come back: collecting it, and what is to blame if it cannot be."""

from collections import deque
from typing import Any

import ray

from cohort.learning.learner import NonFiniteLossError
from cohort.learning.windows import Means
from cohort.runtime.cohort import OnRecords
from cohort.runtime.collective import PeersLostError
from cohort.runtime.pace import Pace
from cohort.runtime.watch import UNWATCHED, Watch

Refs = list[Any]

ERROR_SECONDS = 10.0
"""How long the others' errors may take to arrive after the first one."""


class InFlight:
    """The steps that were submitted, and the records they owe: back-pressure and alarm.

    Args:
        on_records: gets them, student by student.
        pace: told of everything that comes back.
        watch: over those who send it back.
    """

    def __init__(
        self, on_records: OnRecords, pace: Pace | None = None, watch: Watch = UNWATCHED
    ) -> None:
        self.on_records = on_records
        self.pace = pace or Pace()
        self.watch = watch
        self.pace.begin()
        self.steps: deque[Refs] = deque()

    def add(self, records: Refs) -> None:
        """One more step, or chunk of steps, was submitted."""
        self.steps.append(records)

    def limit(self, steps: int) -> None:
        """Wait until at most ``steps`` are in flight."""
        while len(self.steps) > steps:
            try:
                collected: list[dict[int, list[Means]]] = self.watch.get(self.steps[0], "steps")
            except Exception as error:
                cause = first_cause(self.steps[0]) or error
                raise cause from cause.__cause__
            self.steps.popleft()
            self.pace.came_back()
            for student, records in (item for of_host in collected for item in of_host.items()):
                self.on_records(student, records)

    def finish(self, step: int) -> int:
        """Wait for everything; returns ``step``."""
        self.limit(0)
        return step

    def __enter__(self) -> "InFlight":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        # After an error: look at what is left, or Ray logs every one as an unhandled error. Who
        # presses Ctrl-C twice does not wait for that.
        if isinstance(error, Exception):
            _arrived([ref for refs in self.steps for ref in refs])


def first_cause(answers: Refs) -> Exception | None:
    """The error of one step that was no consequence of another; None if nothing went wrong.

    An error of a student comes first, then its death, then what that did to its peers. Who has not
    answered ``ERROR_SECONDS`` after the first error is slow, and no cause.
    """
    return min(_arrived(answers), key=_rank, default=None)


def _arrived(answers: Refs) -> list[Exception]:
    """The errors among answers, of those that come soon."""
    arrived, _ = ray.wait(answers, num_returns=len(answers), timeout=ERROR_SECONDS)
    return [error for answer in arrived if (error := _error_of(answer)) is not None]


def _error_of(answer: Any) -> Exception | None:
    try:
        ray.get(answer)
    except ray.exceptions.RayTaskError as error:
        return unwrapped(error)
    except Exception as error:
        return error
    return None


def unwrapped(error: Exception) -> Exception:
    """The student's own exception, out of those of the tasks that it went through."""
    while isinstance(error, ray.exceptions.RayTaskError):
        error.cause.__cause__ = RuntimeError(str(error))  # keeps the remote traceback
        error = error.cause
    return error


def _rank(error: Exception) -> tuple[int, int]:
    if isinstance(error, NonFiniteLossError):
        return 0, error.order
    if isinstance(error, PeersLostError):
        return 3, 0
    return (2 if isinstance(error, ray.exceptions.RayError) else 1), 0
