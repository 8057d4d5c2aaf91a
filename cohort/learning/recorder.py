"""What the capture of a step needs of a device: to run students side by side, to try out, to record."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

Result = TypeVar("Result")


class CannotCaptureError(Exception):
    """A step cannot be captured; the message says why, to stand behind "because"."""


class Recorder(Protocol):
    """Captures work of a device, and replays it."""

    def begin(self) -> None:
        """What follows, up to the end of the work, is one piece of it."""
        ...

    def lane(self, student: int, *, after_all: bool = False) -> AbstractContextManager[None]:
        """Inside, work runs beside that of other students; ``after_all`` that they have shown so far.

        Which is what they do without ``after_all``: those who learn do not wait for one another.
        """
        ...

    def try_out(self, work: Callable[[], object]) -> None:
        """Do the work a few times, as it has to be done before it is captured.

        Raises CannotCaptureError if it cannot be captured.
        """
        ...

    def record(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """Capture the work; what comes back replays it, and gives its result, ever the same tensors.

        Raises CannotCaptureError if it cannot be captured.
        """
        ...

    def forget(self) -> None:
        """Nothing that was recorded will be replayed any more."""
        ...
