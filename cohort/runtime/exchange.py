"""How posteriors travel between hosts, the processes of students, that are Ray actors.

An exchange advances all students from one step to another and leaves nothing in flight. It never
decides what to do about a failure: it lets the first cause out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ray.actor import ActorProxy

from cohort.learning.lesson import others
from cohort.runtime.cohort import OnRecords, Stopping
from cohort.runtime.config import CohortConfig, check_one_process
from cohort.runtime.host import HostActor
from cohort.runtime.in_flight import InFlight, Refs
from cohort.runtime.joining import wait_until_joined
from cohort.runtime.pace import FEWEST, Pace
from cohort.runtime.watch import UNWATCHED, Watch
from cohort.runtime.wire import Messages, Seat, sums_pay

Hosts = Sequence[ActorProxy[HostActor]]
"""In the order of their students."""
Places = Sequence[Mapping[str, Any]]
"""Of each host: its students, node, address, process and device."""


class Exchange(Protocol):
    """One way for posteriors to travel."""

    def open(self, hosts: Hosts, places: Places, watch: Watch = UNWATCHED) -> None:
        """Connect the hosts, at the start and again after one was replaced or dropped.

        From now on whoever does not answer is looked at by ``watch``.
        """
        ...

    def advance(
        self, hosts: Hosts, start: int, stop: int, on_records: OnRecords, stopping: Stopping
    ) -> int:
        """Train from ``start`` to ``stop`` steps done; less if ``stopping``. Returns steps done."""
        ...


class ObjectStoreExchange:
    """One task per host and step; references to messages go in, a message comes out.

    The driver hands references on unread and stays a few steps ahead, so a step costs each host
    one task and the transfer of the others' messages, and nobody waits for the driver.
    """

    def __init__(self, *, sequential: bool, messages: Messages | None = None) -> None:
        self.sequential = sequential
        self.messages = messages or Messages()
        self.pace = Pace()
        self.watch = UNWATCHED

    def open(self, hosts: Hosts, places: Places, watch: Watch = UNWATCHED) -> None:
        """Tell each host its place; nothing else, for Ray moves the objects."""
        self.watch = watch
        connect(hosts, places, self.messages, watch)

    def advance(
        self, hosts: Hosts, start: int, stop: int, on_records: OnRecords, stopping: Stopping
    ) -> int:
        """Submit steps, at most two chunks of the pace ahead, until ``stop`` or ``stopping``."""
        submit = self._submit_in_turn if self.sequential else self._submit
        shown: Refs = [host.predict.remote(start) for host in hosts]
        drained = start
        with InFlight(on_records, self.pace, self.watch) as in_flight:
            for step in range(start, stop):
                last = step + 1 == stop or stopping()
                shown = submit(hosts, step, shown, last)
                if last or step + 1 - drained >= self.pace.chunk:
                    in_flight.add([host.drain.remote() for host in hosts])
                    in_flight.limit(1)
                    drained = step + 1
                if last:
                    return in_flight.finish(step + 1)
        return stop

    def _submit(self, hosts: Sequence[Any], step: int, shown: Refs, last: bool) -> Refs:
        """All learn from what is shown for ``step``, then predict on the next unless it is the last."""
        tasks = [host.learn if last else host.learn_then_predict for host in hosts]
        return [task.remote(step, *others(shown, i)) for i, task in enumerate(tasks)]

    def _submit_in_turn(self, hosts: Sequence[Any], step: int, shown: Refs, last: bool) -> Refs:
        """Algorithm 1: each learns from its peers' newest posteriors, then shows a new one."""
        newest = list(shown)
        for i, host in enumerate(hosts[:-1]):
            newest[i] = host.learn_in_turn.remote(step, *others(newest, i))
        ending = hosts[-1].learn_in_turn if last else hosts[-1].learn_in_turn_then_predict
        final = ending.remote(step, *newest[:-1])
        if last:
            return [*newest[:-1], final]
        return [*(host.predict.remote(step + 1) for host in hosts[:-1]), final]


class CollectiveExchange:
    """The hosts gather messages among themselves; the driver only says how far to go."""

    def __init__(self, *, sequential: bool, messages: Messages | None = None) -> None:
        self.sequential = sequential
        self.messages = messages or Messages()
        self.pace = Pace()
        self.watch = UNWATCHED

    def open(self, hosts: Hosts, places: Places, watch: Watch = UNWATCHED) -> None:
        """Form the torch.distributed group: NCCL if each host has a GPU of its own, else gloo.

        Raises GroupUnusableError if it does not work though all hosts live.
        """
        self.watch = watch
        store, backend = _rendezvous(hosts, places, watch), _backend(places)
        joining = zip(hosts, seats_of(places, self.messages), strict=True)
        wait_until_joined([host.join_group.remote(seat, store, backend) for host, seat in joining])

    def advance(
        self, hosts: Hosts, start: int, stop: int, on_records: OnRecords, stopping: Stopping
    ) -> int:
        """Submit chunks of steps until ``stop`` or ``stopping``."""
        return _advance_in_chunks(
            lambda host, a, b: host.learn_in_group.remote(a, b, self.sequential),
            self.pace, hosts, start, stop, on_records, stopping, self.watch,
        )  # fmt: skip

    def through_object_store(self) -> ObjectStoreExchange:
        """The same messages the other way, where no group works."""
        return ObjectStoreExchange(sequential=self.sequential, messages=self.messages)


class NoExchange:
    """Nothing travels: students learn alone (``--teacher none``), or have all peers in their host."""

    def __init__(self, *, sequential: bool = False) -> None:
        self.sequential = sequential
        # Hosts that do not wait for each other must not lose sight of a feeder's newest batches.
        self.pace = Pace(most=FEWEST)
        self.watch = UNWATCHED

    def open(self, hosts: Hosts, places: Places, watch: Watch = UNWATCHED) -> None:
        """Connect nothing: the hosts do not speak to each other."""
        self.watch = watch

    def advance(
        self, hosts: Hosts, start: int, stop: int, on_records: OnRecords, stopping: Stopping
    ) -> int:
        """Submit chunks of steps until ``stop`` or ``stopping``."""
        return _advance_in_chunks(
            lambda host, a, b: host.learn_apart.remote(a, b, self.sequential),
            self.pace, hosts, start, stop, on_records, stopping, self.watch,
        )  # fmt: skip


def choose_exchange(
    config: CohortConfig, sizes: Sequence[int], classes: int
) -> ObjectStoreExchange | CollectiveExchange | NoExchange:
    """The exchange that a resolved config asks for, between hosts of so many students.

    Raises ConfigError for sums or half precision where there is one host, and nothing travels.
    """
    sequential = config.schedule == "sequential"
    check_one_process(config, len(sizes))
    if config.teacher == "none" or len(sizes) == 1:
        return NoExchange(sequential=sequential)
    assert config.batch_size is not None
    summed = config.aggregate == "sum" or (
        config.aggregate == "auto"
        and config.sum_is_enough
        and sums_pay(sizes, config.batch_size, classes)
    )
    messages = Messages(teacher=config.teacher, summed=summed, half=config.wire == "fp16")
    if config.exchange == "collective":
        return CollectiveExchange(sequential=sequential, messages=messages)
    return ObjectStoreExchange(sequential=sequential, messages=messages)


def connect(hosts: Hosts, places: Places, messages: Messages, watch: Watch = UNWATCHED) -> None:
    """Tell each host its place among all, for messages that Ray moves."""
    seats = zip(hosts, seats_of(places, messages), strict=True)
    watch.get([host.connect.remote(seat) for host, seat in seats], "connect")


def seats_of(places: Places, messages: Messages) -> list[Seat]:
    """Each host's place among all."""
    sizes = tuple(len(place["students"]) for place in places)
    return [Seat(place, sizes, messages) for place in range(len(sizes))]


def _advance_in_chunks(
    submit: Callable[[Any, int, int], Any],
    pace: Pace,
    hosts: Hosts,
    start: int,
    stop: int,
    on_records: OnRecords,
    stopping: Stopping,
    watch: Watch,
) -> int:
    """Chunks of steps in one task each, two in flight so that nobody waits for the driver."""
    step = start
    with InFlight(on_records, pace, watch) as in_flight:
        while step < stop and not stopping():
            upto = min(step + pace.chunk, stop)
            in_flight.add([submit(host, step, upto) for host in hosts])
            step = upto
            in_flight.limit(1)
        return in_flight.finish(step)


def _rendezvous(hosts: Hosts, places: Places, watch: Watch) -> str:
    one_node = len({place["node"] for place in places}) == 1
    store: str = watch.get(hosts[0].rendezvous.remote(one_node), "rendezvous")
    return store


def _backend(places: Places) -> str:
    gpus = {(place["node"], *place["gpus"]) for place in places if len(place["gpus"]) == 1}
    return "nccl" if len(gpus) == len(places) else "gloo"
