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
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import ray
from ray.actor import ActorHandle, ActorProxy
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cohort.errors import RunError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from cohort.data.dataset import ImageDataset
    from cohort.data.fed import Batch
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

    ``dataset`` is a reference in a list, which whoever creates the actor keeps for as long as it
    may be started again.
    """

    def __init__(self, plan: "TrainingPlan", dataset: Stored, decoders: int) -> None:
        import torch

        from cohort.data.feeder import feeder_of

        torch.set_num_threads(decoders)
        self._feeder = feeder_of(
            ray.get(dataset[0]),
            batch_size=plan.batch_size,
            seed=plan.seed,
            total_steps=plan.total_steps,
            decoders=decoders,
            keep=ray.put,
        )

    @ray.method
    async def batch(self, step: int) -> Stored:
        """The training batch of a step."""
        return await _stored(self._feeder.batch(step))

    @ray.method
    async def pictures(self, files: "PictureFiles") -> Stored:
        """A block of pictures as they are."""
        return await _stored(self._feeder.pictures(files))

    @ray.method
    async def rest(self) -> None:
        """Return when nothing is being decoded any more."""
        await asyncio.gather(*map(asyncio.wrap_future, self._feeder.begun()))

    @ray.method
    async def usage(self) -> dict[str, float]:
        """CPU seconds and largest resident size in bytes of this process so far."""
        return usage()


async def _stored(decoded: "Future[Any]") -> Stored:
    try:
        return [await asyncio.wrap_future(decoded)]
    except RunError as error:
        address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        raise RunError(f"node {address}: {error}") from None


def usage() -> dict[str, float]:
    """CPU seconds and largest resident size in bytes of the process that asks, so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu_seconds": used.ru_utime + used.ru_stime, "peak_memory": used.ru_maxrss * 1024}


class NodeFeed:
    """The feeder of a node as a process there sees it: a ``Feed``. Arrays are read-only."""

    def __init__(self, actor: ActorProxy[NodeFeeder]) -> None:
        self._actor = actor

    def batch(self, step: int) -> "Answer[Batch]":
        """The training batch of a step, asked for."""
        return Answer(lambda: self._actor.batch.remote(step))

    def pictures(self, files: "PictureFiles") -> "Answer[Pixels]":
        """A block of pictures as they are, asked for."""
        return Answer(lambda: self._actor.pictures.remote(files))


class Answer(Generic[Value]):
    """What a feeder was asked for; asked again if the feeder dies."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask = ask
        self._asked = ask()

    def result(self) -> Value:
        """Wait for it. Raises RunError if it cannot be decoded, or if the feeder stays dead."""
        deadline: float | None = None
        while True:
            try:
                (stored,) = ray.get(self._asked)
                value: Value = ray.get(stored)
                return value
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


def new_feeder(
    node: str, plan: "TrainingPlan", dataset: Stored, decoders: int
) -> ActorProxy[NodeFeeder]:
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
    return create(plan, dataset, decoders)


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
        self._feeders: dict[str, ActorProxy[NodeFeeder]] = {}

    def serve(self, nodes: Collection[str]) -> Mapping[str, ActorProxy[NodeFeeder]]:
        """A feeder for each node in ``nodes``, which has a node as often as it has students."""
        from cohort.data.feeder import free_cores

        for node in self._feeders.keys() - set(nodes):
            kill(self._feeders.pop(node))
        for node in dict.fromkeys(nodes):
            if node not in self._feeders:
                busy = list(nodes).count(node) * self._threads
                decoders = self._decoders or free_cores(busy, cores_of(node))
                self._feeders[node] = new_feeder(node, self._plan, [self._dataset], decoders)
        return self._feeders

    def close(self) -> None:
        """End all of them."""
        self.serve(())
