"""How posteriors travel between hosts, the processes of students, that are Ray actors.

An exchange advances all students from one step to another and leaves nothing in flight. It never
decides what to do about a failure: it lets the first cause out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import ray
from ray.actor import ActorProxy

from cohort.learning.host import others
from cohort.runtime.cohort import OnRecords, Stopping
from cohort.runtime.config import CohortConfig
from cohort.runtime.host import HostActor
from cohort.runtime.in_flight import InFlight, Refs

Hosts = Sequence[ActorProxy[HostActor]]
"""In the order of their students."""
Places = Sequence[Mapping[str, Any]]
"""Of each host: its students, node, address, process and device."""
WINDOW = 4
"""Steps submitted ahead of the slowest host: enough that nobody waits for the driver."""
CHUNK = 4
"""Steps in one task where the hosts need no driver to exchange."""


class Exchange(Protocol):
    """One way for posteriors to travel."""

    def open(self, hosts: Hosts, places: Places) -> None:
        """Connect the hosts, at the start and again after one was replaced or dropped."""
        ...

    def advance(
        self, hosts: Hosts, start: int, stop: int, on_records: OnRecords, stopping: Stopping
    ) -> int:
        """Train from ``start`` to ``stop`` steps done; less if ``stopping``. Returns steps done."""
        ...


class ObjectStoreExchange:
    """One task per host and step; references to posteriors go in, its students' posteriors come out.

    The driver hands references on unread and stays a few steps ahead, so a step costs each host
    one task and the transfer of the others' posteriors, and nobody waits for the driver.
    """

    def __init__(self, *, sequential: bool) -> None:
        self.sequential = sequential

    def open(self, hosts: Hosts, places: Places) -> None:
        """Connect nothing: Ray moves the objects."""

    def advance(
        self, hosts: Hosts, start: int, stop: int, on_records: OnRecords, stopping: Stopping
    ) -> int:
        """Submit steps, at most ``WINDOW`` ahead, until ``stop`` or ``stopping``."""
        submit = self._submit_in_turn if self.sequential else self._submit
        shown: Refs = [host.predict.remote(start) for host in hosts]
        with InFlight(on_records) as in_flight:
            for step in range(start, stop):
                last = step + 1 == stop or stopping()
                shown, records = submit(hosts, step, shown, last)
                in_flight.add(records)
                if last:
                    return in_flight.finish(step + 1)
                in_flight.limit(WINDOW)
        return stop

    def _submit(
        self, hosts: Sequence[Any], step: int, shown: Refs, last: bool
    ) -> tuple[Refs, Refs]:
        """All learn from what is shown for ``step``, then predict on the next unless it is the last."""
        if last:
            return [], [h.learn.remote(step, i, *others(shown, i)) for i, h in enumerate(hosts)]
        answers = [
            h.learn_then_predict.remote(step, i, *others(shown, i)) for i, h in enumerate(hosts)
        ]
        return [posteriors for posteriors, _ in answers], [records for _, records in answers]

    def _submit_in_turn(
        self, hosts: Sequence[Any], step: int, shown: Refs, last: bool
    ) -> tuple[Refs, Refs]:
        """Algorithm 1: each learns from its peers' newest posteriors, then shows a new one."""
        newest, records = list(shown), []
        for i, host in enumerate(hosts[:-1]):
            newest[i], record = host.learn_in_turn.remote(step, i, *others(newest, i))
            records.append(record)
        ending = hosts[-1].learn_in_turn if last else hosts[-1].learn_in_turn_then_predict
        final, record = ending.remote(step, len(hosts) - 1, *newest[:-1])
        if last:
            return [], [*records, record]
        first = [host.predict.remote(step + 1) for host in hosts[:-1]]
        return [*first, final], [*records, record]


class CollectiveExchange:
    """The hosts gather posteriors among themselves; the driver only says how far to go."""

    def __init__(self, *, sequential: bool) -> None:
        self.sequential = sequential

    def open(self, hosts: Hosts, places: Places) -> None:
        """Form the torch.distributed group: NCCL if each host has a GPU of its own, else gloo."""
        store, backend = _rendezvous(hosts, places), _backend(places)
        sizes = [len(place["students"]) for place in places]
        ray.get([h.join_group.remote(i, sizes, store, backend) for i, h in enumerate(hosts)])

    def advance(
        self, hosts: Hosts, start: int, stop: int, on_records: OnRecords, stopping: Stopping
    ) -> int:
        """Submit chunks of steps until ``stop`` or ``stopping``."""
        return _advance_in_chunks(
            lambda host, a, b: host.learn_in_group.remote(a, b, self.sequential),
            hosts, start, stop, on_records, stopping,
        )  # fmt: skip


class NoExchange:
    """Nothing travels: students learn alone (``--teacher none``), or have all peers in their host."""

    def __init__(self, *, sequential: bool = False) -> None:
        self.sequential = sequential

    def open(self, hosts: Hosts, places: Places) -> None:
        """Connect nothing: the hosts do not speak to each other."""

    def advance(
        self, hosts: Hosts, start: int, stop: int, on_records: OnRecords, stopping: Stopping
    ) -> int:
        """Submit chunks of steps until ``stop`` or ``stopping``."""
        return _advance_in_chunks(
            lambda host, a, b: host.learn_apart.remote(a, b, self.sequential),
            hosts, start, stop, on_records, stopping,
        )  # fmt: skip


def choose_exchange(config: CohortConfig, hosts: int) -> Exchange:
    """The exchange that a config asks for, between so many hosts."""
    sequential = config.schedule == "sequential"
    if config.teacher == "none" or hosts == 1:
        return NoExchange(sequential=sequential)
    if config.exchange == "collective":
        return CollectiveExchange(sequential=sequential)
    return ObjectStoreExchange(sequential=sequential)


def _advance_in_chunks(
    submit: Callable[[Any, int, int], Any],
    hosts: Hosts,
    start: int,
    stop: int,
    on_records: OnRecords,
    stopping: Stopping,
) -> int:
    """Chunks of steps in one task each, two in flight so that nobody waits for the driver."""
    step = start
    with InFlight(on_records) as in_flight:
        while step < stop and not stopping():
            upto = min(step + CHUNK, stop)
            in_flight.add([submit(host, step, upto) for host in hosts])
            step = upto
            in_flight.limit(1)
        return in_flight.finish(step)


def _rendezvous(hosts: Hosts, places: Places) -> str:
    one_node = len({place["node"] for place in places}) == 1
    store: str = ray.get(hosts[0].rendezvous.remote(one_node))
    return store


def _backend(places: Places) -> str:
    gpus = {(place["node"], *place["gpus"]) for place in places if len(place["gpus"]) == 1}
    return "nccl" if len(gpus) == len(places) else "gloo"
