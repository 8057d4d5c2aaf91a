"""The cohort as Ray actors: one process per host, placed by a placement group."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import ray
import torch
from ray.actor import ActorHandle, ActorProxy
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from torch import Tensor

from cohort.data.dataset import ImageDataset
from cohort.data.fed import in_files
from cohort.errors import RunError
from cohort.learning.learner import Files
from cohort.learning.plan import TrainingPlan
from cohort.models.spec import Network
from cohort.objectives.mutual import MutualLearning
from cohort.reporting.waits import named
from cohort.runtime.clock import Times
from cohort.runtime.cohort import HeldOut, Load, OnRecords, Stopping
from cohort.runtime.exchange import CollectiveExchange, Exchange
from cohort.runtime.feeding import Feeders, NodeFeed
from cohort.runtime.host import HostActor
from cohort.runtime.in_flight import unwrapped
from cohort.runtime.liveness import Watched
from cohort.runtime.own_gpu import environment
from cohort.runtime.preemption import NodeNotices
from cohort.runtime.reservation import Reservation
from cohort.runtime.warm_up import GroupUnusableError
from cohort.runtime.watch import Watch

# Ray's own restarts would rebuild students from their constructor, with reset weights, and the run
# would "succeed": recovery is the coordinator's, from a checkpoint.
RemoteHost = ray.remote(max_restarts=0, max_task_retries=0)(HostActor)

REPLACEMENT_SECONDS = 120.0
"""How long hosts that died may wait for a node: a lost node is noticed after about 13 s."""
SOON_SECONDS = 5.0
"""After which a wait for a node is told."""


class RayCohort:
    """A ``Cohort`` with an actor per host.

    The actors take the places of a reservation, which its owner gives back. A host has the number
    of its place; its students, and those of hosts that are left, stay in order.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        plan: TrainingPlan,
        dataset: ImageDataset,
        objective: MutualLearning,
        *,
        exchange: Exchange,
        reservation: Reservation,
        decoders: int | None = None,
        hang_after: float | None = None,
    ) -> None:
        self._networks = networks
        self._exchange = exchange
        self._connected = False
        self._notices: list[str] = []
        self._watch = Watch(self._watched, hang_after=hang_after, tell=self._notices.append)
        self._reservation = reservation
        self._here = dict(enumerate(reservation.division.hosts))
        self._places: dict[int, Mapping[str, Any]] = {}
        self._actors: dict[int, ActorProxy[HostActor]] = {}
        self._feeders: Feeders | None = None
        self._nodes = NodeNotices()
        try:
            # One copy in each node's object store, read by its hosts without a copy.
            self._common = (ray.put(plan), ray.put(dataset), ray.put(objective))
            if in_files(dataset):
                data, threads = self._common[1], reservation.division.threads
                self._feeders = Feeders(plan, data, threads=threads, decoders=decoders)
            self._replace(list(self._here))
            self._warm_up()
        except BaseException:
            self.close()
            raise
        self.parameters = {
            k: size for place in self._places.values() for k, size in place["parameters"].items()
        }

    @property
    def students(self) -> tuple[int, ...]:
        """Numbers of the students that are left."""
        return tuple(k for host in self._actors for k in self._here[host])

    def advance(self, start: int, stop: int, on_records: OnRecords, stopping: Stopping) -> int:
        """Train from ``start`` to ``stop`` steps done; less if ``stopping``."""
        hosts = list(self._actors.values())
        self._connect()
        return self._exchange.advance(hosts, start, stop, on_records, stopping)

    def flush_records(self, on_records: OnRecords) -> None:
        """Hand over the measurements of the steps since the last full window."""
        for student, records in self._ask_students("flush_records").items():
            on_records(student, records)

    def listen(self, tell: Callable[[str], None]) -> None:
        """Say at once what comes up while the cohort waits."""
        self._watch.tell = tell

    def notices(self) -> list[str]:
        """Sentences for the user that came up since the last call, each once."""
        notices = self._notices.copy()
        self._notices.clear()
        # One that died has none: its death shows where the students are to go on.
        with contextlib.suppress(ray.exceptions.RayActorError):
            for of_host in self._ask("notices").values():
                notices += of_host
        return list(dict.fromkeys(notices))

    def leaving(self) -> tuple[int, ...]:
        """Students whose nodes are to go, each told once."""
        nodes = self._nodes.new(place["node"] for place in self._places.values())
        gone = [h for h, place in self._places.items() if place["node"] in nodes]
        return tuple(sorted(student for host in gone for student in self._here[host]))

    def answers(self, split: HeldOut) -> dict[int, Tensor]:
        """What a split asks of each student: log-posteriors [N, C], or features [N, D]."""
        answers = self._ask_students("answers_over", split)
        return {k: torch.from_numpy(np.array(answer)) for k, answer in answers.items()}

    def train_entropies(self) -> dict[int, float]:
        """Mean entropy in nats of each student's evaluation posterior over the training split."""
        return self._ask_students("mean_entropies_over", "train")

    def snapshots(self) -> Iterator[tuple[int, Files]]:
        """Every student's state after the last step, asked of all at once.

        It travels to the driver, so that no shared file system is needed, when the iterator gets to
        it: that may be in another thread, while the students go on.
        """
        asked = {
            student: _asked_for_snapshot(actor, student)
            for host, actor in self._actors.items()
            for student in self._here[host]
        }
        try:
            self._watch.get([taken for taken, _ in asked.values()], "snapshot")
        except ray.exceptions.RayTaskError as error:
            raise unwrapped(error) from error
        files = {student: reference for student, (_, reference) in asked.items()}
        return ((student, ray.get(files.pop(student))) for student in tuple(files))

    def restore(self, load: Load) -> None:
        """Put every student back to a checkpoint."""
        restored = [
            actor.restore.remote({student: load(student)})
            for host, actor in self._actors.items()
            for student in self._here[host]
        ]
        self._watch.get(restored, "restore")

    def weights_sha256(self) -> dict[int, str]:
        """Hash of each student's parameters and buffers."""
        return self._ask_students("weights_sha256")

    def usage(self) -> list[dict[str, float]]:
        """CPU seconds and largest resident size in bytes of each host's process so far."""
        return list(self._ask("usage").values())

    @property
    def hosts(self) -> Sequence[ActorProxy[HostActor]]:
        """The hosts' actors, in the order of their students."""
        return list(self._actors.values())

    @property
    def sizes(self) -> Sequence[int]:
        """How many students each host has."""
        return [len(self._here[host]) for host in self._actors]

    @property
    def places(self) -> Sequence[Mapping[str, Any]]:
        """Students, node, address, process and device of each host."""
        return [{**self._places[host], "students": self._here[host]} for host in self._actors]

    @property
    def feeds(self) -> Mapping[str, NodeFeed]:
        """The feed of each node that has hosts, if their pictures are in files."""
        return {} if self._feeders is None else self._feeders.feeds

    def reading(self, dataset: ImageDataset, *, fed: bool) -> Callable[[], None]:
        """What makes all students learn from a data set, which is stored once, from then on.

        With ``fed``, through their nodes' feeds; else each host decodes for itself what is in files.
        """
        stored = ray.put(dataset)

        def read() -> None:
            feeds = {h: self.feeds[place["node"]] for h, place in self._places.items() if fed}
            ray.get([a.read.remote(stored, feeds.get(h)) for h, a in self._actors.items()])

        return read

    def casualties(self) -> tuple[tuple[int, ...], ...]:
        """Of each host whose process is dead, or hung and was ended, the students."""
        # A host answers behind all that it was asked before: once everybody has, or is dead, no message
        # is under way any more, and those that came too late were known to nobody but the ``advance``
        # that failed. So none reaches who is replaced or restored after this.
        answers = self._ask_whereabouts(self._actors)
        if stuck := self._stuck(answers):
            self._watch.tell(
                f"{self._names(stuck)} still waited for one that is gone: started again"
            )
            self._replace(stuck)
            answers |= self._ask_whereabouts(stuck)
        self._watch.wait(list(answers.values()), "whereabouts")
        return tuple(self._here[h] for h, answer in answers.items() if not _answered(answer))

    def _stuck(self, answers: Mapping[int, Any]) -> list[int]:
        """Hosts that a dead one, or one on a node that is cut off, keeps waiting in their group.

        Of a process that ends its peers learn at once; of a cable that is cut nobody tells them. Who is
        only slow has answered by the time after which one that hangs would be looked at.
        """
        if not isinstance(self._exchange, CollectiveExchange):
            return []
        every, patience = list(answers.values()), self._watch.patience("steps")
        came, late = ray.wait(every, num_returns=len(every), timeout=patience)
        if all(_answered(answer) for answer in came):
            return []
        return [h for h, answer in answers.items() if answer in late]

    def _ask_whereabouts(self, hosts: Iterable[int]) -> dict[int, Any]:
        return {h: self._actors[h].whereabouts.remote() for h in hosts}

    def replace(self, students: Sequence[int]) -> None:
        """Start new processes, at step 0, for students' hosts; each in its own place of the group."""
        self._replace(
            [h for h, here in self._here.items() if set(here) & set(students)],
            tell=self._watch.tell,
        )
        self._warm_up()

    def times(self) -> dict[tuple[int, ...], Times]:
        """Of each host, by its students: seconds busy and waiting in the steps since the last call."""
        return {self._here[host]: times for host, times in self._ask("times").items()}

    def _connect(self) -> None:
        if not self._connected:
            self._exchange.open(self.hosts, self.places, self._watch)
            self._connected = True

    def _warm_up(self) -> None:
        """Connect the hosts, all of whose students are to be restored or at step 0.

        Where a group does not work, no process that was in it is trusted: all start anew, and
        exchange through the object store.
        """
        try:
            self._connect()
        except GroupUnusableError as error:
            self._notices.append(
                f"--exchange collective does not work here ({error}); posteriors travel through the "
                "object store instead"
            )
            assert isinstance(self._exchange, CollectiveExchange)  # the others form no group
            self._exchange = self._exchange.through_object_store()
            self._replace(list(self._actors))
        except ray.exceptions.RayActorError:
            pass  # it died: that shows again when the students are to go on, and is dealt with there

    def _replace(
        self, hosts: Sequence[int], tell: Callable[[str], None] = lambda text: None
    ) -> None:
        deadline = time.monotonic() + REPLACEMENT_SECONDS
        missing = tuple(hosts)
        while missing:
            self._forget(missing)
            self._actors = dict(sorted({**self._actors, **self._start(missing)}.items()))
            answers = {
                h: self._actors[h].build.remote(self._networks_of(h), *self._common)
                for h in missing
            }
            if self._await_places(answers, deadline, tell):
                tell = lambda text: None  # noqa: E731 - once is enough
            # Until a lost node is noticed, Ray may start a host there, and it dies again.
            missing = tuple(h for h, answer in answers.items() if not self._is_built(h, answer))
            missing += self._unfed([h for h in answers if h not in missing], deadline)
            if missing and time.monotonic() > deadline:
                raise RunError(
                    f"{self._names(missing)} could not be started on this cluster "
                    f"within {REPLACEMENT_SECONDS:.0f} s; --resume the run when it has room"
                )

    def _await_places(
        self, answers: Mapping[int, Any], deadline: float, tell: Callable[[str], None]
    ) -> bool:
        """Wait for new hosts, one deadline for all; whether it took so long that it was told."""
        _, late = ray.wait(list(answers.values()), num_returns=len(answers), timeout=SOON_SECONDS)
        if not late:
            return False
        left = max(deadline - time.monotonic(), 0.0)
        names = self._names([h for h, answer in answers.items() if answer in late])
        tell(f"waiting up to {left:.0f} s for a place for {names}")
        ray.wait(late, num_returns=len(late), timeout=left)
        return True

    def drop(self, students: Sequence[int]) -> None:
        """Leave students out of the cohort, which goes on without them."""
        left = {h: tuple(k for k in here if k not in students) for h, here in self._here.items()}
        changed = [h for h, here in left.items() if here and here != self._here[h]]
        self._forget([h for h, here in left.items() if not here])
        self._here = {h: here for h, here in left.items() if here}
        self._watch.get([self._actors[h].keep.remote(left[h]) for h in changed], "keep")
        if students:
            self._connected = False
            self._warm_up()

    def close(self) -> None:
        """End the hosts' processes, and their feeders'."""
        self._nodes.close()
        self._forget(tuple(self._actors))
        if self._feeders is not None:
            self._feeders.close()

    def _watched(self) -> list[Watched]:
        """All processes whose answers are waited for."""
        hosts = [
            Watched(named(self._here[h]), place["node"], place["pid"])
            for h, place in self._places.items()
        ]
        return hosts if self._feeders is None else [*hosts, *self._feeders.watched()]

    def _names(self, hosts: Sequence[int]) -> str:
        return named(sorted(student for host in hosts for student in self._here[host]))

    def _networks_of(self, host: int) -> dict[int, Network]:
        return {student: self._networks[student] for student in self._here[host]}

    def _start(self, hosts: Sequence[int]) -> dict[int, ActorProxy[HostActor]]:
        held, shares = self._reservation, self._reservation.division.shares

        def options(host: int) -> dict[str, Any]:
            share, _ = shares[host]
            place = PlacementGroupSchedulingStrategy(held.group, held.first + host)
            resources = {"num_cpus": share.cpus, "num_gpus": share.gpus}
            named = {"name": _name(self._here[host]), "scheduling_strategy": place}
            return {**named, **resources, **environment(share.device)}

        return {
            h: RemoteHost.options(**options(h)).remote(shares[h][1], shares[h][0].device)
            for h in hosts
        }

    def _is_built(self, host: int, answer: Any) -> bool:
        """Whether the new host lives; its place is then known."""
        if not _lives(answer):
            return False
        self._places[host] = ray.get(answer)
        return True

    def _unfed(self, hosts: Sequence[int], deadline: float) -> tuple[int, ...]:
        """Those of new hosts whom their nodes' feeders do not reach, for they died."""
        if self._feeders is None:
            return ()
        node_of = {h: place["node"] for h, place in self._places.items()}
        feeds = self._feeders.serve(list(node_of.values()))
        data = self._common[1]
        answers = {h: self._actors[h].read.remote(data, feeds[node_of[h]]) for h in hosts}
        left = max(deadline - time.monotonic(), SOON_SECONDS)
        ray.wait(list(answers.values()), num_returns=len(answers), timeout=left)
        return tuple(h for h, answer in answers.items() if not _lives(answer))

    def _forget(self, hosts: Sequence[int]) -> None:
        self._connected = False
        for host in hosts:
            if actor := self._actors.pop(host, None):
                ray.kill(cast("ActorHandle[HostActor]", actor))
            self._places.pop(host, None)

    def _ask(self, method: str, *arguments: Any) -> dict[int, Any]:
        """What every host answers to one call; all are asked at once."""
        answers = [getattr(a, method).remote(*arguments) for a in self._actors.values()]
        try:
            return dict(zip(self._actors, self._watch.get(answers, method), strict=True))
        except ray.exceptions.RayTaskError as error:
            raise unwrapped(error) from error

    def _ask_students(self, method: str, *arguments: Any) -> dict[int, Any]:
        """The same, where a host answers for each of its students."""
        every = self._ask(method, *arguments).values()
        return {student: answer for of_host in every for student, answer in of_host.items()}


def _name(students: Sequence[int]) -> str:
    """Of a host in Ray's lists of actors; others may share the Ray."""
    span = f"{students[0]}-{students[-1]}" if len(students) > 1 else f"{students[0]}"
    return f"student-{span}-{uuid.uuid4().hex}"


def _asked_for_snapshot(actor: ActorProxy[HostActor], student: int) -> tuple[Any, Any]:
    """References to whether it was taken, which is small, and to the snapshot, which need not be here."""
    method: Any = actor.snapshot
    taken, files = method.options(num_returns=2).remote(student)
    return taken, files


def _lives(answer: Any) -> bool:
    """Whether a host has answered by now."""
    try:
        ray.get(answer, timeout=0)
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        return False
    except ray.exceptions.RayTaskError as error:
        raise unwrapped(error) from error
    return True


def _answered(answer: Any) -> bool:
    with contextlib.suppress(Exception):
        ray.get(answer, timeout=0)
        return True
    return False
