"""The feeders of a run's nodes, as those see them who create them or learn from them.

Imports no torch, for the sake of actors that start without.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import ray
from ray.actor import ActorProxy

from cohort.data.feeder import free_cores, kept_at_most
from cohort.errors import RunError
from cohort.runtime.decoding import Stored, ahead_of, reason_of
from cohort.runtime.liveness import Watched
from cohort.runtime.node_feeder import NodeFeeder, kill, new_feeder

if TYPE_CHECKING:
    from cohort.data.dataset import ImageDataset
    from cohort.data.fed import Batch
    from cohort.data.pictures.files import PictureFiles, Pixels
    from cohort.learning.plan import TrainingPlan

Value = TypeVar("Value")

PATIENCE_SECONDS = 60.0
"""How long a feeder may be dead, before those who wait for it give up."""
PAUSE_SECONDS = 0.2
PIDS_SECONDS = 5.0
"""How long a feeder that moves may take to say which processes it has."""
LOST = (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError)
"""What is raised for what a dead feeder was asked for, or had given; or one that decodes for it."""


@dataclass(frozen=True)
class NodeFeed:
    """The feeder of a node as processes there see it: a ``Feed``, whose arrays are read-only."""

    actor: ActorProxy[NodeFeeder]
    plan: "TrainingPlan"
    dataset: Stored
    """Kept by whoever created the actor, for as long as it may be started again."""
    decoders: int
    """How many threads decode."""

    @property
    def kept_at_most(self) -> int:
        """Batches that the feeder keeps: B·C·H·W bytes each."""
        return kept_at_most(ahead_of(self.decoders))

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
        """CPU seconds and largest resident size in bytes of the feeder's processes so far."""
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
            except ray.exceptions.RayError as error:
                reason = reason_of(error)
                if not isinstance(reason, LOST):
                    raise reason from None
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
        self._first_pids: dict[str, Any] = {}
        self._pids: dict[str, list[int]] = {}
        self.feeds: dict[str, NodeFeed] = {}
        """By node."""

    def serve(self, nodes: Collection[str]) -> Mapping[str, NodeFeed]:
        """A feeder for each node in ``nodes``, which has a node as often as it has students."""
        for node in self.feeds.keys() - set(nodes):
            kill(self.feeds.pop(node).actor)
        for node in set(nodes) - self.feeds.keys():
            busy = list(nodes).count(node) * self._threads
            decoders = self._decoders or free_cores(busy, cores_of(node))
            feeder = new_feeder(node)
            self._first_pids[node] = feeder.pids.remote()
            self.feeds[node] = NodeFeed(feeder, self._plan, [self._dataset], decoders)
        return self.feeds

    def watched(self) -> list[Watched]:
        """Their processes; of a feeder that does not answer, those that it had last."""
        asked = {node: feed.actor.pids.remote() for node, feed in self.feeds.items()}
        if asked:
            ray.wait(list(asked.values()), num_returns=len(asked), timeout=PIDS_SECONDS)
        for node, answer in [*self._first_pids.items(), *asked.items()]:
            with contextlib.suppress(ray.exceptions.RayError):
                self._pids[node] = ray.get(answer, timeout=0)
        return [
            Watched(f"a process that decodes on {node[:8]}", node, pid)
            for node in self.feeds
            for pid in self._pids.get(node, ())
        ]

    def close(self) -> None:
        """End all of them."""
        self.serve(())
