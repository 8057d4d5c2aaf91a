"""How posteriors travel between students that are Ray actors.

An exchange advances all students from one step to another and leaves nothing in flight. It never
decides what to do about a failure: it lets the first cause out.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import ray
from ray.actor import ActorProxy

from cohort.learning.learner import NonFiniteLossError
from cohort.learning.records import Record
from cohort.runtime.cohort import OnRecords, Stopping
from cohort.runtime.collective import PeersLostError
from cohort.runtime.config import CohortConfig
from cohort.runtime.student import Student

Actors = Mapping[int, ActorProxy[Student]]
Refs = list[Any]

WINDOW = 4
"""Steps submitted ahead of the slowest student: enough that nobody waits for the driver."""
CHUNK = 4
"""Steps in one task where the students need no driver to exchange."""
ERROR_SECONDS = 10.0
"""How long the others' errors may take to arrive after the first one."""


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
        """Nothing to connect: Ray moves the objects."""

    def advance(
        self, actors: Actors, start: int, stop: int, on_records: OnRecords, stopping: Stopping
    ) -> int:
        """Submit steps, at most ``WINDOW`` ahead, until ``stop`` or ``stopping``."""
        submit = self._submit_in_turn if self.sequential else self._submit
        students = list(actors)
        posteriors: Refs = [actors[k].predict.remote(start) for k in students]
        with _InFlight(students, on_records) as in_flight:
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
            return [], [a.learn.remote(step, *_peers(posteriors, k)) for k, a in enumerate(actors)]
        answers = [
            a.learn_then_predict.remote(step, *_peers(posteriors, k)) for k, a in enumerate(actors)
        ]
        return [posterior for posterior, _ in answers], [records for _, records in answers]

    def _submit_in_turn(
        self, actors: Sequence[Any], step: int, posteriors: Refs, last: bool
    ) -> tuple[Refs, Refs]:
        """Algorithm 1: each learns from its peers' newest posteriors, then shows a new one."""
        newest, records = list(posteriors), []
        for k, actor in enumerate(actors[:-1]):
            newest[k], record = actor.learn_then_repredict.remote(step, *_peers(newest, k))
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
        """Nothing to connect."""

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


class _InFlight:
    """The records that each submitted step owes; collecting them is back-pressure and alarm."""

    def __init__(self, students: Sequence[int], on_records: OnRecords) -> None:
        self.students = students
        self.on_records = on_records
        self.steps: deque[Refs] = deque()

    def add(self, records: Refs) -> None:
        self.steps.append(records)

    def limit(self, steps: int) -> None:
        """Wait until at most ``steps`` are in flight."""
        while len(self.steps) > steps:
            try:
                collected: list[list[Record]] = ray.get(self.steps[0])
            except Exception as error:
                cause = first_cause(self.steps[0]) or error
                raise cause from cause.__cause__
            self.steps.popleft()
            for student, records in zip(self.students, collected, strict=True):
                self.on_records(student, records)

    def finish(self, step: int) -> int:
        """Wait for everything; returns ``step``."""
        self.limit(0)
        return step

    def __enter__(self) -> "_InFlight":
        return self

    def __exit__(self, *_: object) -> None:
        # After an error: look at what is left, or Ray logs every one as an unhandled error.
        for ref in [ref for refs in self.steps for ref in refs]:
            with contextlib.suppress(Exception):
                ray.get(ref, timeout=ERROR_SECONDS)


def first_cause(answers: Refs) -> Exception | None:
    """Of what went wrong in one step, what was not a consequence of something else.

    An error of a student comes first, then its death, then what that did to its peers.
    """
    errors = [error for answer in answers if (error := _error_of(answer)) is not None]
    return min(errors, key=_rank, default=None)


def _error_of(answer: Any) -> Exception | None:
    try:
        ray.get(answer, timeout=ERROR_SECONDS)
    except ray.exceptions.RayTaskError as error:
        return _unwrap(error)
    except Exception as error:
        return error
    return None


def _unwrap(error: Exception) -> Exception:
    """The student's own exception, out of those of the tasks that it went through."""
    while isinstance(error, ray.exceptions.RayTaskError):
        error.cause.__cause__ = RuntimeError(str(error))  # keeps the remote traceback
        error = error.cause
    return error


def _rank(error: Exception) -> tuple[int, int]:
    if isinstance(error, NonFiniteLossError):
        return 0, error.order
    if isinstance(error, PeersLostError):
        return 3, 0
    return (2 if isinstance(error, ray.exceptions.RayError) else 1), 0


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
    with _InFlight(list(actors), on_records) as in_flight:
        while step < stop and not stopping():
            upto = min(step + CHUNK, stop)
            in_flight.add([submit(actor, step, upto) for actor in actors.values()])
            step = upto
            in_flight.limit(1)
        return in_flight.finish(step)


def _peers(posteriors: Refs, k: int) -> Refs:
    return posteriors[:k] + posteriors[k + 1 :]


def _rendezvous(actors: Actors, places: Mapping[int, Mapping[str, Any]]) -> str:
    one_node = len({place["node"] for place in places.values()}) == 1
    first = next(iter(actors.values()))
    store: str = ray.get(first.rendezvous.remote(one_node))
    return store


def _backend(places: Sequence[Mapping[str, Any]]) -> str:
    gpus = [(place["node"], gpu) for place in places for gpu in place["gpus"]]
    return "nccl" if len(set(gpus)) == len(places) == len(gpus) else "gloo"
