"""How posteriors travel between students that are Ray actors.

An exchange advances all students from one step to another and leaves nothing in flight. It never
decides what to do about a failure: it lets the first cause out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import ray
from ray.actor import ActorProxy

from cohort.runtime.cohort import OnRecords, Stopping, others
from cohort.runtime.config import CohortConfig
from cohort.runtime.in_flight import InFlight, Refs
from cohort.runtime.student import Student

Actors = Mapping[int, ActorProxy[Student]]
WINDOW = 4
"""Steps submitted ahead of the slowest student: enough that nobody waits for the driver."""
CHUNK = 4
"""Steps in one task where the students need no driver to exchange."""


class Exchange(Protocol):
    """One way for posteriors to travel."""

    def open(self, actors: Actors, places: Mapping[int, Mapping[str, Any]]) -> None:
        """Connect the students, at the start and again after one was replaced or dropped."""
        ...

    def advance(
        self, actors: Actors, start: int, stop: int, on_records: OnRecords, stopping: Stopping
    ) -> int:
        """Train from ``start`` to ``stop`` steps done; less if ``stopping``. Returns steps done."""
        ...


class ObjectStoreExchange:
    """One task per student and step; references to posteriors go in, a posterior comes out.

    The driver hands references on unread and stays a few steps ahead, so a step costs each student
    one task and the transfer of its peers' posteriors, and nobody waits for the driver.
    """

    def __init__(self, *, sequential: bool) -> None:
        self.sequential = sequential

    def open(self, actors: Actors, places: Mapping[int, Mapping[str, Any]]) -> None:
        """Connect nothing: Ray moves the objects."""

    def advance(
        self, actors: Actors, start: int, stop: int, on_records: OnRecords, stopping: Stopping
    ) -> int:
        """Submit steps, at most ``WINDOW`` ahead, until ``stop`` or ``stopping``."""
        submit = self._submit_in_turn if self.sequential else self._submit
        students = list(actors)
        posteriors: Refs = [actors[k].predict.remote(start) for k in students]
        with InFlight(students, on_records) as in_flight:
            for step in range(start, stop):
                last = step + 1 == stop or stopping()
                posteriors, records = submit(list(actors.values()), step, posteriors, last)
                in_flight.add(records)
                if last:
                    return in_flight.finish(step + 1)
                in_flight.limit(WINDOW)
        return stop

    def _submit(
        self, actors: Sequence[Any], step: int, posteriors: Refs, last: bool
    ) -> tuple[Refs, Refs]:
        """All learn from the posteriors of ``step``, then predict on the next unless it is the last."""
        if last:
            return [], [a.learn.remote(step, *others(posteriors, k)) for k, a in enumerate(actors)]
        answers = [
            a.learn_then_predict.remote(step, *others(posteriors, k)) for k, a in enumerate(actors)
        ]
        return [posterior for posterior, _ in answers], [records for _, records in answers]

    def _submit_in_turn(
        self, actors: Sequence[Any], step: int, posteriors: Refs, last: bool
    ) -> tuple[Refs, Refs]:
        """Algorithm 1: each learns from its peers' newest posteriors, then shows a new one."""
        newest, records = list(posteriors), []
        for k, actor in enumerate(actors[:-1]):
            newest[k], record = actor.learn_then_repredict.remote(step, *others(newest, k))
            records.append(record)
        peers = newest[:-1]
        if last:
            return [], [*records, actors[-1].learn.remote(step, *peers)]
        final, record = actors[-1].learn_then_predict.remote(step, *peers)
        first = [actor.predict.remote(step + 1) for actor in actors[:-1]]
        return [*first, final], [*records, record]


class CollectiveExchange:
    """The students gather posteriors among themselves; the driver only says how far to go."""

    def __init__(self, *, sequential: bool) -> None:
        self.sequential = sequential

    def open(self, actors: Actors, places: Mapping[int, Mapping[str, Any]]) -> None:
        """Form the torch.distributed group: NCCL if each student has a GPU of its own, else gloo."""
        store, backend = _rendezvous(actors, places), _backend(list(places.values()))
        joined = [
            actor.join_group.remote(rank, len(actors), store, backend)
            for rank, actor in enumerate(actors.values())
        ]
        ray.get(joined)

    def advance(
        self, actors: Actors, start: int, stop: int, on_records: OnRecords, stopping: Stopping
    ) -> int:
        """Submit chunks of steps until ``stop`` or ``stopping``."""
        return _advance_in_chunks(
            lambda actor, a, b: actor.learn_in_group.remote(a, b, self.sequential),
            actors, start, stop, on_records, stopping,
        )  # fmt: skip


class NoExchange:
    """Students that learn alone (``--teacher none``): a deep ensemble."""

    def open(self, actors: Actors, places: Mapping[int, Mapping[str, Any]]) -> None:
        """Connect nothing: the students do not speak to each other."""

    def advance(
        self, actors: Actors, start: int, stop: int, on_records: OnRecords, stopping: Stopping
    ) -> int:
        """Submit chunks of steps until ``stop`` or ``stopping``."""
        return _advance_in_chunks(
            lambda actor, a, b: actor.learn_alone.remote(a, b),
            actors, start, stop, on_records, stopping,
        )  # fmt: skip


def choose_exchange(config: CohortConfig) -> Exchange:
    """The exchange that a config asks for."""
    if config.teacher == "none":
        return NoExchange()
    sequential = config.schedule == "sequential"
    if config.exchange == "collective":
        return CollectiveExchange(sequential=sequential)
    return ObjectStoreExchange(sequential=sequential)


def _advance_in_chunks(
    submit: Callable[[Any, int, int], Any],
    actors: Actors,
    start: int,
    stop: int,
    on_records: OnRecords,
    stopping: Stopping,
) -> int:
    """Chunks of steps in one task each, two in flight so that nobody waits for the driver."""
    step = start
    with InFlight(list(actors), on_records) as in_flight:
        while step < stop and not stopping():
            upto = min(step + CHUNK, stop)
            in_flight.add([submit(actor, step, upto) for actor in actors.values()])
            step = upto
            in_flight.limit(1)
        return in_flight.finish(step)


def _rendezvous(actors: Actors, places: Mapping[int, Mapping[str, Any]]) -> str:
    one_node = len({place["node"] for place in places.values()}) == 1
    first = next(iter(actors.values()))
    store: str = ray.get(first.rendezvous.remote(one_node))
    return store


def _backend(places: Sequence[Mapping[str, Any]]) -> str:
    gpus = {(place["node"], *place["gpus"]) for place in places if len(place["gpus"]) == 1}
    return "nccl" if len(gpus) == len(places) else "gloo"
