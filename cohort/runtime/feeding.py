"""A feeder on each node: an actor that decodes a batch once for all processes there.

It puts a batch into the node's shared memory, where every process reads the same one without a
copy. It keeps nothing that it could not decode again, so Ray may start it again whenever it dies,
and whoever was waiting asks again.

Imports no torch, for the sake of actors that start without.
"""

import asyncio
import resource
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import ray
from ray.actor import ActorHandle, ActorProxy
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cohort.errors import RunError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from cohort.data.dataset import ImageDataset
    from cohort.data.fed import Batch
    from cohort.data.feeder import Feeder
    from cohort.data.pictures.files import PictureFiles, Pixels
    from cohort.learning.plan import TrainingPlan

Stored = list["ray.ObjectRef[Any]"]
"""One reference. In a list, so that Ray hands on the reference and not what it stands for."""
Value = TypeVar("Value")

PATIENCE_SECONDS = 60.0
"""How long a feeder may be dead, before those who wait for it give up."""
PAUSE_SECONDS = 0.2
LOST = (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError)
"""What is raised for what a dead feeder was asked for, or had given."""


class NodeFeeder:
    """Wraps a ``Feeder``. Plain Python; ``ray.remote(NodeFeeder)`` makes it an actor.

    It knows nothing until somebody tells it to ``begin``, and after it died, again: of constructors
    with arguments in the object store, Ray tells the terminal that they may be gone by then.
    """

    def __init__(self) -> None:
        self._feeder: Feeder[ray.ObjectRef[Any]] | None = None

    @ray.method
    async def begin(self, plan: "TrainingPlan", dataset: Stored, decoders: int) -> None:
        """Serve these data, if it serves none yet."""
        import torch

        from cohort.data.feeder import feeder_of

        data: ImageDataset = await dataset[0]
        if self._feeder is None:
            torch.set_num_threads(decoders)
            self._feeder = feeder_of(
                data,
                batch_size=plan.batch_size,
                seed=plan.seed,
                total_steps=plan.total_steps,
                decoders=decoders,
                keep=ray.put,
            )

    @ray.method
    async def batch(self, step: int) -> Stored | None:
        """The training batch of a step; None if nobody told it to begin."""
        return None if self._feeder is None else await _stored(self._feeder.batch(step))

    @ray.method
    async def pictures(self, files: "PictureFiles") -> Stored | None:
        """A block of pictures as they are; None if nobody told it to begin."""
        return None if self._feeder is None else await _stored(self._feeder.pictures(files))

    @ray.method
    async def rest(self) -> None:
        """Return when nothing is being decoded any more."""
        begun = self._feeder.begun() if self._feeder else []
        await asyncio.gather(*map(asyncio.wrap_future, begun))

    @ray.method
    async def usage(self) -> dict[str, float]:
        """CPU seconds and largest resident size in bytes of this process so far."""
        return usage()


async def _stored(decoded: "Future[Any]") -> Stored:
    try:
        return [await asyncio.shield(asyncio.wrap_future(decoded))]  # which others wait for
    except RunError as error:
        address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        raise RunError(f"node {address}: {error}") from None


def usage() -> dict[str, float]:
    """CPU seconds and largest resident size in bytes of the process that asks, so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu_seconds": used.ru_utime + used.ru_stime, "peak_memory": used.ru_maxrss * 1024}


@dataclass(frozen=True)
class NodeFeed:
    """The feeder of a node as processes there see it: a ``Feed``, whose arrays are read-only."""

    actor: ActorProxy[NodeFeeder]
    plan: "TrainingPlan"
    dataset: Stored
    """Kept by whoever created the actor, for as long as it may be started again."""
    decoders: int
    """How many threads decode."""

    def batch(self, step: int) -> "Answer[Batch]":
        """The training batch of a step, asked for."""
        return Answer(self, lambda: self.actor.batch.remote(step))

    def pictures(self, files: "PictureFiles") -> "Answer[Pixels]":
        """A block of pictures as they are, asked for."""
        return Answer(self, lambda: self.actor.pictures.remote(files))

    def rest(self) -> None:
        """Wait until nothing is being decoded any more."""
        ray.get(self.actor.rest.remote())

    def usage(self) -> dict[str, float]:
        """CPU seconds and largest resident size in bytes of the feeder's process so far."""
        return ray.get(self.actor.usage.remote())

    def begin(self) -> None:
        """Tell the feeder what it serves."""
        ray.get(self.actor.begin.remote(self.plan, self.dataset, self.decoders))


class Answer(Generic[Value]):
    """What a feeder was asked for; asked again if the feeder dies."""

    def __init__(self, feed: NodeFeed, ask: Callable[[], Any]) -> None:
        self._feed = feed
        self._ask = ask
        self._asked = ask()

    def result(self) -> Value:
        """Wait for it. Raises RunError if it cannot be decoded, or if the feeder stays dead."""
        deadline = None
        while True:
            try:
                return self._fetch()
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except LOST as error:
                deadline = deadline or time.monotonic() + PATIENCE_SECONDS
                if time.monotonic() > deadline:
                    raise RunError(
                        "the process that decodes this node's pictures died and could not be started "
                        f"again within {PATIENCE_SECONDS:.0f} s; --resume the run when the node has room"
                    ) from error
            time.sleep(PAUSE_SECONDS)
            self._asked = self._ask()

    def _fetch(self) -> Value:
        while (stored := ray.get(self._asked)) is None:
            self._feed.begin()
            self._asked = self._ask()
        value: Value = ray.get(stored[0])
        return value


def new_feeder(node: str) -> ActorProxy[NodeFeeder]:
    """A feeder on a node, which ends with the process that creates it."""
    create: Callable[..., ActorProxy[NodeFeeder]] = (
        ray.remote(NodeFeeder)
        .options(
            name=f"feeder-{uuid.uuid4().hex}",  # others may share the Ray
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=0,
            # Also keeps it out of a placement group that its creator is in.
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        .remote
    )
    return create()


def another_feeder() -> ActorProxy[NodeFeeder]:
    """A feeder on the node of the process that creates it."""
    return new_feeder(ray.get_runtime_context().get_node_id())


def kill(feeder: ActorProxy[NodeFeeder]) -> None:
    """End a feeder for good."""
    ray.kill(cast("ActorHandle[NodeFeeder]", feeder))


def cores_of(node: str) -> float:
    """What Ray gives away on a node."""
    nodes: Sequence[Mapping[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    found = (each["Resources"].get("CPU", 0.0) for each in nodes if each["NodeID"] == node)
    return float(next(found, 0.0))


class Feeders:
    """The feeders of a cohort, one on each node that has students.

    Args:
        plan: of the run.
        dataset: in the object store.
        threads: of each student.
        decoders: of each feeder; None for the cores of its node that the students leave free.
    """

    def __init__(
        self,
        plan: "TrainingPlan",
        dataset: "ray.ObjectRef[ImageDataset]",
        *,
        threads: int,
        decoders: int | None,
    ) -> None:
        self._plan = plan
        self._dataset = dataset
        self._threads = threads
        self._decoders = decoders
        self.feeds: dict[str, NodeFeed] = {}
        """By node."""

    def serve(self, nodes: Collection[str]) -> Mapping[str, NodeFeed]:
        """A feeder for each node in ``nodes``, which has a node as often as it has students."""
        from cohort.data.feeder import free_cores

        for node in self.feeds.keys() - set(nodes):
            kill(self.feeds.pop(node).actor)
        for node in set(nodes) - self.feeds.keys():
            busy = list(nodes).count(node) * self._threads
            decoders = self._decoders or free_cores(busy, cores_of(node))
            feeder = new_feeder(node)
            self.feeds[node] = NodeFeed(feeder, self._plan, [self._dataset], decoders)
        return self.feeds

    def close(self) -> None:
        """End all of them."""
        self.serve(())
