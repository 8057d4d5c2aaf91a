"""Processes that decode for a node's feeder, where one could not use all cores that are free.

Each is an actor that its feeder creates, and which ends with it. What it decodes lies in the node's
shared memory, where it belongs to the feeder: if the process dies, what it gave stays.

Imports no torch, for the sake of feeders that start without.
"""

import asyncio
import contextlib
import os
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import ray
from ray.actor import ActorProxy
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cohort.data.feeder import AHEAD
from cohort.runtime.usage import usage

if TYPE_CHECKING:
    from cohort.data.dataset import ImageDataset
    from cohort.data.decoding import DecodingThreads
    from cohort.data.fed import Batch
    from cohort.data.pictures.files import PictureFiles, Pixels
    from cohort.learning.plan import TrainingPlan

Stored = list["ray.ObjectRef[Any]"]
"""One reference. In a list, so that Ray hands on the reference and not what it stands for."""

THREADS = 3
"""Threads that decode in one process at most: of reading a picture, a quarter is Python's own work,
which only one of them does at a time."""


ANSWER_SECONDS = 2.0
"""How long a process that moves may take to say its number."""


@dataclass(frozen=True)
class Work:
    """What a feeder serves."""

    plan: "TrainingPlan"
    dataset: Stored

    def in_threads(
        self, dataset: "ImageDataset", decoders: int, keep: Callable[[Any], Any]
    ) -> "DecodingThreads[Any]":
        """Threads of this process that decode it."""
        import torch

        from cohort.data.decoding import DecodingThreads

        torch.set_num_threads(decoders)
        size, seed = self.plan.batch_size, self.plan.seed
        return DecodingThreads(dataset, batch_size=size, seed=seed, decoders=decoders, keep=keep)


class Decoder:
    """Decodes in some threads. Plain Python; ``ray.remote(Decoder)`` makes it an actor.

    It is told with every call what it decodes, so that Ray may start it again whenever it dies,
    and call again. Beside what it decodes it gives None, by which who asked learns, without
    looking at it, that it is there.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._decoding: DecodingThreads[Any] | None = None

    @ray.method
    async def batch(self, work: Work, step: int) -> "tuple[Batch, None]":
        """The training batch of a step."""
        decoding = await self._of(work)
        return await asyncio.wrap_future(decoding.batch(step)), None

    @ray.method
    async def pictures(self, work: Work, files: "PictureFiles") -> "tuple[Pixels, None]":
        """A block of pictures as they are."""
        decoding = await self._of(work)
        return await asyncio.wrap_future(decoding.pictures(files)), None

    @ray.method
    async def pid(self) -> int:
        """Of this process; also proof that it moves."""
        return os.getpid()

    @ray.method
    async def usage(self) -> dict[str, float]:
        """CPU seconds and largest resident size in bytes of this process so far."""
        return usage()

    async def _of(self, work: Work) -> "DecodingThreads[Any]":
        if self._decoding is None:
            dataset = await work.dataset[0]
            # Meanwhile another call may have been here.
            self._decoding = self._decoding or work.in_threads(dataset, self._threads, lambda x: x)
        return self._decoding


class DecodingProcesses:
    """A ``Decoding`` in ``decoders`` threads of further processes of this node.

    What it gives are references. Batches go to the processes in turn, and so do blocks.
    """

    def __init__(self, work: Work, decoders: int) -> None:
        self._work = work
        self._processes = [new_decoder(threads) for threads in threads_of_each(decoders)]
        self._turns = cycle(self._processes)
        self._first_pids = [each.pid.remote() for each in self._processes]
        self._pids: dict[int, int] = {}

    def batch(self, step: int) -> "Future[ray.ObjectRef[Any]]":
        """Start with the training batch of a step."""
        process: Any = self._processes[step % len(self._processes)]
        return _reference(*process.batch.options(num_returns=2).remote(self._work, step))

    def pictures(self, files: "PictureFiles") -> "Future[ray.ObjectRef[Any]]":
        """Start with a block of pictures as they are."""
        process: Any = next(self._turns)
        return _reference(*process.pictures.options(num_returns=2).remote(self._work, files))

    def close(self) -> None:
        """Nothing: they end with the process that created them."""

    async def pids(self) -> list[int]:
        """Of each process; of one that does not answer, the last that it had."""

        async def ask(number: int) -> None:
            for answer in (self._first_pids[number], self._processes[number].pid.remote()):
                with contextlib.suppress(ray.exceptions.RayError, TimeoutError):
                    self._pids[number] = await asyncio.wait_for(answer, ANSWER_SECONDS)

        await asyncio.gather(*map(ask, range(len(self._processes))))
        return list(self._pids.values())

    async def usage(self) -> list[dict[str, float]]:
        """CPU seconds and largest resident size in bytes of each process so far."""
        return list(await asyncio.gather(*(each.usage.remote() for each in self._processes)))


def threads_of_each(decoders: int) -> Sequence[int]:
    """So many threads that decode, in as few processes as may be, and as evenly."""
    processes = -(-decoders // THREADS)
    least, more = divmod(decoders, processes)
    return [least + (number < more) for number in range(processes)]


def ahead_of(decoders: int) -> int:
    """How many batches they decode ahead: two for each process, of which one waits for its turn."""
    return max(AHEAD, 2 * len(threads_of_each(decoders)))


def new_decoder(threads: int) -> ActorProxy[Decoder]:
    """A process of this node that decodes in some threads, and ends with the one that creates it."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    create: Callable[..., ActorProxy[Decoder]] = (
        ray.remote(Decoder)
        .options(
            name=f"decoder-{uuid.uuid4().hex}",  # others may share the Ray
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=-1,
            scheduling_strategy=here,
        )
        .remote
    )
    return create(threads)


def _reference(
    value: "ray.ObjectRef[Any]", done: "ray.ObjectRef[Any]"
) -> "Future[ray.ObjectRef[Any]]":
    """The reference to a value, as soon as that is there. Raises what the process raised."""
    reference: Future[ray.ObjectRef[Any]] = Future()
    reference.set_running_or_notify_cancel()  # from now on whoever waits cannot cancel it

    def tell(finished: "Future[Any]") -> None:
        error = finished.exception()
        if error is None:
            reference.set_result(value)
        else:
            reference.set_exception(reason_of(error))

    done.future().add_done_callback(tell)
    return reference


def reason_of(error: BaseException) -> BaseException:
    """What an actor raised, or what happened to it."""
    return error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
