"""The cohort as Ray actors: one process per student, placed by a placement group."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from cohort.runtime.cohort import HeldOut, Load, OnRecords, Stopping
from cohort.runtime.exchange import Exchange
from cohort.runtime.feeding import Feeders, NodeFeed
from cohort.runtime.in_flight import unwrapped
from cohort.runtime.reservation import Reservation
from cohort.runtime.student import Student

# Ray's own restarts would rebuild a student from its constructor, with reset weights, and the run
# would "succeed": recovery is the coordinator's, from a checkpoint.
RemoteStudent = ray.remote(max_restarts=0, max_task_retries=0)(Student)

REPLACEMENT_SECONDS = 120.0
"""How long a student that died may wait for a node: a lost node is noticed after about 13 s."""
ANSWER_SECONDS = 15.0
"""A student that does not answer for so long, with nothing to compute, counts as dead."""


class RayCohort:
    """A ``Cohort`` with an actor per student.

    The actors take the places of a reservation, which its owner gives back.
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
        threads: int,
        decoders: int | None = None,
    ) -> None:
        self._networks = networks
        self._threads = threads
        self._exchange = exchange
        self._connected = False
        self._places: dict[int, Mapping[str, Any]] = {}
        self._actors: dict[int, ActorProxy[Student]] = {}
        self._reservation = reservation
        self._feeders: Feeders | None = None
        try:
            # One copy in each node's object store, read by its students without a copy.
            self._common = (ray.put(plan), ray.put(dataset), ray.put(objective))
            if in_files(dataset):
                data = self._common[1]
                self._feeders = Feeders(plan, data, threads=threads, decoders=decoders)
            self.replace(range(len(networks)))
        except BaseException:
            self.close()
            raise
        self.parameters = {k: place["parameters"] for k, place in self._places.items()}

    @property
    def students(self) -> tuple[int, ...]:
        """Numbers of the students that are left."""
        return tuple(self._actors)

    def advance(self, start: int, stop: int, on_records: OnRecords, stopping: Stopping) -> int:
        """Train from ``start`` to ``stop`` steps done; less if ``stopping``."""
        if not self._connected:
            self._exchange.open(self._actors, self._places)
            self._connected = True
        return self._exchange.advance(self._actors, start, stop, on_records, stopping)

    def flush_records(self, on_records: OnRecords) -> None:
        """Hand over the measurements of the steps since the last full window."""
        for student, records in self._ask("flush_records").items():
            on_records(student, records)

    def answers(self, split: HeldOut) -> dict[int, Tensor]:
        """What a split asks of each student: log-posteriors [N, C], or features [N, D]."""
        answers = self._ask("answer_over", split)
        return {k: torch.from_numpy(np.array(answer)) for k, answer in answers.items()}

    def train_entropies(self) -> dict[int, float]:
        """Mean entropy in nats of each student's evaluation posterior over the training split."""
        return self._ask("mean_entropy_over", "train")

    def snapshots(self) -> Iterator[tuple[int, Files]]:
        """Every student's state; it travels to the driver, so no shared file system is needed."""
        for student, actor in self._actors.items():
            yield student, ray.get(actor.snapshot.remote())

    def restore(self, load: Load) -> None:
        """Put every student back to a checkpoint."""
        restored = [actor.restore.remote(load(student)) for student, actor in self._actors.items()]
        ray.get(restored)

    def weights_sha256(self) -> dict[int, str]:
        """Hash of each student's parameters and buffers."""
        return self._ask("weights_sha256")

    def usage(self) -> dict[int, dict[str, float]]:
        """CPU seconds and largest resident size in bytes of each student's process so far."""
        return self._ask("usage")

    @property
    def actors(self) -> Mapping[int, ActorProxy[Student]]:
        """The students' actors by number."""
        return self._actors

    @property
    def places(self) -> Mapping[int, Mapping[str, Any]]:
        """Node, address, process and device of each student."""
        return self._places

    @property
    def feeds(self) -> Mapping[str, NodeFeed]:
        """The feed of each node that has students, if their pictures are in files."""
        return {} if self._feeders is None else self._feeders.feeds

    def reading(self, dataset: ImageDataset, *, fed: bool) -> Callable[[], None]:
        """What makes all students learn from a data set, which is stored once, from then on.

        With ``fed``, through their nodes' feeds; else each decodes for itself what is in files.
        """
        stored = ray.put(dataset)

        def read() -> None:
            feeds = {k: self.feeds[place["node"]] for k, place in self._places.items() if fed}
            ray.get([a.read.remote(stored, feeds.get(k)) for k, a in self._actors.items()])

        return read

    def casualties(self) -> tuple[int, ...]:
        """Students whose process is dead or does not answer."""
        answers = {k: actor.whereabouts.remote() for k, actor in self._actors.items()}
        ray.wait(list(answers.values()), num_returns=len(answers), timeout=ANSWER_SECONDS)
        return tuple(k for k, answer in answers.items() if not _answered(answer))

    def replace(self, students: Sequence[int]) -> None:
        """Start new processes, at step 0, for students; each in its own place of the group."""
        deadline = time.monotonic() + REPLACEMENT_SECONDS
        missing = tuple(students)
        while missing:
            self._forget(missing)
            self._actors = dict(sorted({**self._actors, **self._start(missing)}.items()))
            answers = {
                k: self._actors[k].build.remote(self._networks[k], *self._common) for k in missing
            }
            # Until a lost node is noticed, Ray may start a student there, and it dies again.
            missing = tuple(k for k, answer in answers.items() if not self._is_built(k, answer))
            missing += self._unfed([k for k in answers if k not in missing])
            if missing and time.monotonic() > deadline:
                raise RunError(
                    f"student {', '.join(map(str, missing))} could not be started on this cluster "
                    f"within {REPLACEMENT_SECONDS:.0f} s; --resume the run when it has room"
                )

    def drop(self, students: Sequence[int]) -> None:
        """Leave students out of the cohort, which goes on without them."""
        self._forget(students)

    def close(self) -> None:
        """End the students' processes, and their feeders'."""
        self._forget(self.students)
        if self._feeders is not None:
            self._feeders.close()

    def _start(self, students: Sequence[int]) -> dict[int, ActorProxy[Student]]:
        def options(student: int) -> dict[str, Any]:
            place = PlacementGroupSchedulingStrategy(held.group, held.first + student)
            resources = {"num_cpus": held.share.cpus, "num_gpus": held.share.gpus}
            return {**resources, "scheduling_strategy": place}

        held = self._reservation
        device = held.share.device
        return {
            k: RemoteStudent.options(**options(k)).remote(k, self._threads, device)
            for k in students
        }

    def _is_built(self, student: int, answer: Any) -> bool:
        """Whether the new student lives; its place is then known."""
        if not _lives(answer):
            return False
        self._places[student] = ray.get(answer)
        return True

    def _unfed(self, students: Sequence[int]) -> tuple[int, ...]:
        """Those of new students whom their nodes' feeders do not reach, for they died."""
        if self._feeders is None:
            return ()
        node_of = {k: place["node"] for k, place in self._places.items()}
        feeds = self._feeders.serve(list(node_of.values()))
        data = self._common[1]
        answers = {k: self._actors[k].read.remote(data, feeds[node_of[k]]) for k in students}
        return tuple(k for k, answer in answers.items() if not _lives(answer))

    def _forget(self, students: Sequence[int]) -> None:
        self._connected = False
        for student in students:
            if actor := self._actors.pop(student, None):
                ray.kill(cast("ActorHandle[Student]", actor))
            self._places.pop(student, None)

    def _ask(self, method: str, *arguments: Any) -> dict[int, Any]:
        """What every student answers to one call; all are asked at once."""
        answers = [getattr(a, method).remote(*arguments) for a in self._actors.values()]
        try:
            return dict(zip(self._actors, ray.get(answers), strict=True))
        except ray.exceptions.RayTaskError as error:
            raise unwrapped(error) from error


def _lives(answer: Any) -> bool:
    try:
        ray.get(answer, timeout=REPLACEMENT_SECONDS)
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        return False
    return True


def _answered(answer: Any) -> bool:
    with contextlib.suppress(Exception):
        ray.get(answer, timeout=0)
        return True
    return False
