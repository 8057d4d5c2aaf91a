"""The feeder of a node: an actor that has each batch decoded once for all processes there.

It knows where a batch lies in the node's shared memory, where every process reads the same one
without a copy. It keeps nothing that could not be decoded again, so Ray may start it again whenever
it dies, and whoever was waiting asks again.

Imports no torch, for the sake of actors that start without.
"""

import asyncio
import os
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import ray
from ray.actor import ActorHandle, ActorProxy
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cohort.data.feeder import Feeder
from cohort.errors import RunError
from cohort.runtime.decoding import THREADS, DecodingProcesses, Stored, Work, ahead_of
from cohort.runtime.usage import usage

if TYPE_CHECKING:
    from concurrent.futures import Future

    from cohort.data.pictures.files import PictureFiles
    from cohort.learning.plan import TrainingPlan


class NodeFeeder:
    """Wraps a ``Feeder``. Plain Python; ``ray.remote(NodeFeeder)`` makes it an actor.

    Up to ``THREADS`` decoders are threads of its own process, more of further ones.

    It knows nothing until somebody tells it to ``begin``, and after it died, again: of constructors
    with arguments in the object store, Ray tells the terminal that they may be gone by then.
    """

    def __init__(self) -> None:
        self._feeder: Feeder[ray.ObjectRef[Any]] | None = None
        self._processes: DecodingProcesses | None = None

    @ray.method
    async def begin(self, plan: "TrainingPlan", dataset: Stored, decoders: int) -> None:
        """Serve these data, if it serves none yet."""
        work, steps = Work(plan, dataset), plan.total_steps
        if decoders <= THREADS:
            data = await dataset[0]
            if self._feeder is None:
                threads = work.in_threads(data, decoders, keep=ray.put)
                self._feeder = Feeder(threads, total_steps=steps)
        elif self._feeder is None:
            self._processes = DecodingProcesses(work, decoders)
            ahead = ahead_of(decoders)
            self._feeder = Feeder(self._processes, total_steps=steps, ahead=ahead)

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
    async def pids(self) -> list[int]:
        """Of all its processes, its own first; also proof that it moves."""
        others = await self._processes.pids() if self._processes else []
        return [os.getpid(), *others]

    @ray.method
    async def usage(self) -> dict[str, float]:
        """CPU seconds and largest resident size in bytes, of all its processes together, so far."""
        others = await self._processes.usage() if self._processes else []
        own = usage()
        return {key: sum(each[key] for each in (own, *others)) for key in own}


async def _stored(decoded: "Future[Any]") -> Stored:
    try:
        return [await asyncio.shield(asyncio.wrap_future(decoded))]  # which others wait for
    except RunError as error:
        address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        raise RunError(f"node {address}: {error}") from None


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
