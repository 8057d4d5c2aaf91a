"""What failed in another process of a job, as it is told to the driver."""

import traceback
from typing import Self

from cohort.errors import RunError


class WorkerFailedError(RunError):
    """A sentence, and the traceback in that process."""

    def __init__(self, reason: str, details: str) -> None:
        super().__init__(reason, details)
        self.reason = reason
        self.details = details

    def __str__(self) -> str:
        return self.reason

    @classmethod
    def because_of(cls, error: Exception, reason: str) -> Self:
        """With what ``error`` says of itself as the details."""
        return cls(reason, "".join(traceback.format_exception(error)))
