"""What a job's workers write to the driver, over its mailbox, and how the driver reads it."""

import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import ray
from ray.actor import ActorProxy

from cohort.errors import RunError
from cohort.jobs.mailbox import Beginning, Mailbox, Place, Wishes, packed
from cohort.runtime.liveness import Watched
from cohort.runtime.watch import Watch

if TYPE_CHECKING:
    from cohort.jobs.worker import Final
    from cohort.learning.learner import Files
    from cohort.learning.windows import Means
    from cohort.reporting.records import Phase


class WorkerFailedError(RunError):
    """A process of the job failed: one sentence, and that process's traceback as ``details``."""

    def __init__(self, reason: str, details: str) -> None:
        super().__init__(reason, details)
        self.reason = reason
        self.details = details

    def __str__(self) -> str:
        return self.reason

    @classmethod
    def because_of(cls, error: Exception, reason: str) -> Self:
        """The failure for ``reason``, with the traceback of ``error`` as its details."""
        return cls(reason, "".join(traceback.format_exception(error)))


Message = tuple[str, tuple[Any, ...], dict[str, Any]]
"""Name, arguments and keywords of a call of the ``Channel``."""


class Post:
    """A ``Channel`` from a worker to the driver, over a mailbox."""

    def __init__(self, mailbox: ActorProxy[Mailbox], beginning: Beginning, own: Place) -> None:
        self._mailbox = mailbox
        self._beginning = beginning
        self._own = own
        self._answer = mailbox.wishes.remote(own)
        self._wishes = Wishes()
        self._saved = 0

    def begin(self) -> Beginning:
        """The step from which to go on, and the files to restore, as the mailbox said."""
        return self._beginning

    def trained(self, records: "Sequence[Means]") -> None:
        """Measurements that became due."""
        self._tell("trained", records)

    def notice(self, text: str) -> None:
        """Send a sentence for the person who watches."""
        self._tell("notice", text)

    def pause(self, *, pausing: bool) -> None:
        """Send word that what follows is not training, or is again."""
        self._tell("pause", pausing=pausing)

    def evaluated(
        self, step: int, results: Mapping[int | str, Mapping[str, Any]], phase: "Phase"
    ) -> None:
        """Send measurements of the student, and of ensembles of its exits or members, on a split."""
        self._tell("evaluated", step, results, phase)

    def save(self, step: int, files: "Files") -> None:
        """Send a checkpoint and wait for its arrival: only what has arrived can be gone back to."""
        ray.get(self._mailbox.save.remote(step, files, self._own))
        self._saved = self._wishes.checkpoints

    def finished(self, final: "Final") -> None:
        """Send what is left of the student and wait for its arrival: this process ends after it."""
        ray.get(self._mailbox.tell.remote(packed("finished", final), self._own))

    def failed(self, error: Exception) -> None:
        """Tell the driver of an error of the program in this process, and wait until it has arrived."""
        ray.get(self._mailbox.fail.remote(packed("failed", error), self._own))

    def stopping(self) -> bool:
        """Whether to stop, by the newest answer; the next is asked for, not waited for."""
        if ray.wait([self._answer], timeout=0)[0]:
            self._wishes = ray.get(self._answer)
            self._answer = self._mailbox.wishes.remote(self._own)
        return self._wishes.stopping

    def saving(self) -> bool:
        """Whether a checkpoint is wanted that has not been sent, by the same answer."""
        return self._wishes.checkpoints > self._saved

    def _tell(self, name: str, *args: Any, **kwargs: Any) -> None:
        self._mailbox.tell.remote(packed(name, *args, **kwargs), self._own)


class Inbox:
    """The driver's side of a mailbox, which waits for none that hangs.

    Args:
        mailbox: of the job.
        hang_after: seconds without an answer after which its process is looked at.
        tell: sentences for the user.
    """

    def __init__(
        self, mailbox: ActorProxy[Mailbox], hang_after: float | None, tell: Callable[[str], None]
    ) -> None:
        self._mailbox = mailbox
        at: Place = ray.get(mailbox.place.remote())
        keeper = Watched("the process that keeps the workers' messages", at.node, at.pid)
        self._watch = Watch(lambda: [keeper], hang_after=hang_after, tell=tell)

    def ask(self, answer: Any) -> Any:
        """What the mailbox answers. Raises RunError if it died, or hung and was ended."""
        try:
            return self._watch.get(answer, "mailbox")
        except ray.exceptions.RayActorError as error:
            raise RunError(
                "the process that keeps the workers' messages died; --resume the run"
            ) from error

    def messages(self, seconds: float) -> Iterator[Message]:
        """The messages that have come, oldest first, after waiting for one so long."""
        for message in self.ask(self._mailbox.take.remote(seconds)):
            yield pickle.loads(message)  # from our own workers, by the way on which Ray pickles too
