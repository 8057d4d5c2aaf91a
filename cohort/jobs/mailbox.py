"""Between the workers of a job and the driver that owns its run: an actor that keeps messages.

Ray Train has a channel of its own, ``ray.train.report``. It waits for the controller's next poll at
every call, and its checkpoints need storage that all nodes share; this one needs neither.
"""

import asyncio
import os
import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar

import ray
from ray.actor import ActorProxy

from cohort.data.dataset import ImageDataset
from cohort.errors import RunError
from cohort.runtime.node_feeder import NodeFeeder, kill, new_feeder

if TYPE_CHECKING:  # the actor imports no torch, and so starts in a second
    from cohort.jobs.job import Job
    from cohort.jobs.placement import Placement
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
Beginning = tuple[int, "Files | None"]


class Place(NamedTuple):
    """Where a process runs, and which it is."""

    node: str
    pid: int
    process: str
    """Ray's number of it, which no other process ever has."""


def own_place() -> Place:
    """Of the process that asks."""
    context = ray.get_runtime_context()
    return Place(context.get_node_id(), os.getpid(), context.get_worker_id())


class Wishes(NamedTuple):
    """What the driver wants of the workers."""

    stopping: bool = False
    checkpoints: int = 0
    """How many were wanted since the workers began, beside those of the plan."""


class Mailbox:
    """Keeps the leading worker's messages for the driver, and the newest state for new workers.

    Plain Python; ``ray.remote(Mailbox)`` makes it an actor, on the driver's node, so that it lives
    as long as the driver whatever happens to workers.

    A worker that was replaced may still live where nobody can end it, on a node that is cut off: of
    processes that do not form the newest group nothing is kept, and they are asked to stop.
    """

    def __init__(self, step: int, files: "Files | None") -> None:
        self._newest: Beginning = (step, files)
        self._messages: asyncio.Queue[bytes] = asyncio.Queue()
        self._wishes = Wishes()
        self._failed = False
        self._kept: Sequence[ray.ObjectRef[Any]] = ()
        self._feeders: dict[str, ActorProxy[NodeFeeder]] = {}
        self._places: dict[int, Place] = {}
        self._beside: dict[str, Place] = {}

    @ray.method
    async def enter(self, who: str, place: Place) -> None:
        """An actor beside the workers lives here from now on."""
        self._beside[who] = place

    @ray.method
    async def processes(self) -> "Mapping[str, Place]":
        """All that train, by what the user calls them; before there are workers, nobody is waited for."""
        if not self._places:
            return {}
        workers = {f"worker {rank}": place for rank, place in sorted(self._places.items())}
        return workers | self._beside

    @ray.method
    async def renew(self, places: Sequence[Place]) -> None:
        """Workers form the group from now on, by rank, and those before them no more."""
        self._places = dict(enumerate(places))
        self._wishes = self._wishes._replace(checkpoints=0)  # they begin at one

    @ray.method
    async def places(self) -> "Mapping[int, Place]":
        """Of each worker, by rank, its newest process."""
        return self._places

    @ray.method
    async def begin(self, rank: int, place: Place) -> Beginning | None:
        """Where a worker begins; None if it was replaced, or the program would only fail again."""
        if self._failed or not self._works(place):
            return None
        if rank == 0:
            self._messages.put_nowait(packed("begin"))
        return self._newest

    @ray.method
    async def keep(self, references: "Sequence[ray.ObjectRef[Any]]") -> None:
        """Hold references to what actors need to start again, as long as the driver lives."""
        self._kept = references

    @ray.method
    async def kept(self) -> "Sequence[ray.ObjectRef[Any]]":
        """What ``keep`` was given, which actors need to start again."""
        return self._kept

    @ray.method
    async def feeder(self, node: str) -> ActorProxy[NodeFeeder]:
        """The feeder of a node, created for whoever asks first; it lives as long as the driver."""
        if node not in self._feeders:
            self._feeders[node] = new_feeder(node)
        return self._feeders[node]

    @ray.method
    async def end_feeders(self) -> None:
        """End the feeders of all nodes."""
        while self._feeders:
            kill(self._feeders.popitem()[1])

    @ray.method
    async def tell(self, message: bytes, sender: Place | None) -> None:
        """Keep a packed message for the driver; of None, an actor beside the workers, always."""
        if sender is None or self._works(sender):
            self._messages.put_nowait(message)

    @ray.method
    async def save(self, step: int, files: "Files", sender: Place) -> None:
        """Keep a checkpoint, for the driver and for workers that may come."""
        if self._works(sender):
            self._newest = step, files
            self._messages.put_nowait(packed("save", step, files))

    @ray.method
    async def fail(self, message: bytes, sender: Place) -> None:
        """Keep word that the program failed: there is no use in beginning again."""
        if self._works(sender):
            self._failed = True
            self._messages.put_nowait(message)

    @ray.method
    async def take(self, seconds: float) -> list[bytes]:
        """The messages that have come, oldest first, after waiting for one so long."""
        try:
            messages = [await asyncio.wait_for(self._messages.get(), seconds)]
        except TimeoutError:
            return []
        while not self._messages.empty():
            messages.append(self._messages.get_nowait())
        return messages

    @ray.method
    async def waiting(self) -> int:
        """How many messages have not been taken."""
        return self._messages.qsize()

    @ray.method
    async def stop(self) -> None:
        """Note that the driver was asked to stop."""
        self._wishes = self._wishes._replace(stopping=True)

    @ray.method
    async def want_checkpoint(self) -> None:
        """Note that nodes of workers are to go."""
        self._wishes = self._wishes._replace(checkpoints=self._wishes.checkpoints + 1)

    @ray.method
    async def wishes(self, sender: Place) -> Wishes:
        """What the driver wants of a worker; of one that was replaced, that it stops."""
        return self._wishes if self._works(sender) else Wishes(stopping=True)

    def _works(self, place: Place) -> bool:
        """Whether a process is one of the newest workers'."""
        return place in self._places.values()


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


def packed(name: str, *args: Any, **kwargs: Any) -> bytes:
    """A call of the ``Channel`` as bytes, which the mailbox need not understand."""
    return pickle.dumps((name, args, kwargs))


def messages(mailbox: ActorProxy[Mailbox], seconds: float) -> Iterator[Message]:
    """The messages that have come, oldest first, after waiting for one so long."""
    for message in ray.get(mailbox.take.remote(seconds)):
        yield pickle.loads(message)  # from our own workers, by the way on which Ray pickles too


def new_mailbox(beginning: Beginning, name: str | None = None) -> ActorProxy[Mailbox]:
    """A mailbox on this node, which other processes of the job find by its name, if it has one."""
    node = ray.get_runtime_context().get_node_id()
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
    create: Callable[..., ActorProxy[Mailbox]] = (
        ray.remote(Mailbox).options(num_cpus=0, name=name, scheduling_strategy=here).remote
    )
    return create(*beginning)


AnyJob = TypeVar("AnyJob", bound="Job")


@dataclass(frozen=True)
class StoredJob(Generic[AnyJob]):
    """A job in the object store, apart from its data, which lie there once for all that take it."""

    job: "ray.ObjectRef[AnyJob]"
    dataset: "ray.ObjectRef[ImageDataset]"

    def take(self) -> AnyJob:
        """The whole job; its data are read without a copy."""
        return replace(ray.get(self.job), dataset=ray.get(self.dataset))


class Common(NamedTuple):
    """What the processes of a job have in common: a mailbox to the driver, and the data."""

    mailbox: ActorProxy[Mailbox]
    name: str
    """The mailbox's name, by which other processes find it."""
    dataset: "ray.ObjectRef[ImageDataset]"

    def store(self, job: AnyJob) -> StoredJob[AnyJob]:
        """Put a job of these data into the object store, for other processes."""
        return StoredJob(ray.put(replace(job, dataset=_without_images(job.dataset))), self.dataset)


def _without_images(dataset: ImageDataset) -> ImageDataset:
    none = dataset.train.part(slice(0))
    return replace(dataset, train=none, test=none, validation=None)


Beside = Callable[["Job", "Placement", Common], AbstractContextManager["Job"]]
"""Inside, actors run beside a job's workers, and the job that is given back knows of them."""
