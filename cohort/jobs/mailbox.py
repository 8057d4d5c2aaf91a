"""Between the workers of a job and the driver that owns its run: an actor that keeps messages.

Ray Train has a channel of its own, ``ray.train.report``. It waits for the controller's next poll at
every call, and its checkpoints need storage that all nodes share; this one needs neither.
"""

import asyncio
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import ray
from ray.actor import ActorProxy

from cohort.runtime.node_feeder import NodeFeeder, kill, new_feeder

if TYPE_CHECKING:  # the actor imports no torch, and so starts in a second
    from cohort.learning.learner import Files

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
    async def place(self) -> Place:
        """Where this actor itself lives."""
        return own_place()

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


def packed(name: str, *args: Any, **kwargs: Any) -> bytes:
    """A call of the ``Channel`` as bytes, which the mailbox need not understand."""
    return pickle.dumps((name, args, kwargs))


def new_mailbox(beginning: Beginning, name: str | None = None) -> ActorProxy[Mailbox]:
    """A mailbox on this node, which other processes of the job find by its name, if it has one."""
    node = ray.get_runtime_context().get_node_id()
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
    create: Callable[..., ActorProxy[Mailbox]] = (
        ray.remote(Mailbox).options(num_cpus=0, name=name, scheduling_strategy=here).remote
    )
    return create(*beginning)
