"""A host in a process of its own: students that share a device, answering messages.

The class is plain Python; ``ray.remote(HostActor)`` makes it an actor. What it writes to other hosts
leaves and arrives as ``cohort.runtime.letters`` says.

Shapes: S students of the host, B batch, C classes.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
import torch
from torch import Tensor

from cohort.data.dataset import ImageDataset
from cohort.data.fed import with_feed
from cohort.learning.host import Host
from cohort.learning.learner import Files
from cohort.learning.plan import TrainingPlan
from cohort.learning.precision import check_device, set_precision
from cohort.learning.student_files import weights_sha256
from cohort.learning.windows import Means
from cohort.metrics.classification import entropy
from cohort.models.modules import count_parameters
from cohort.models.spec import Network
from cohort.objectives.mutual import MutualLearning
from cohort.objectives.peer_sum import Peer
from cohort.runtime.clock import Clock, Times
from cohort.runtime.collective import PosteriorGroup
from cohort.runtime.feeding import NodeFeed
from cohort.runtime.letters import Letter, opened, sealed
from cohort.runtime.own_gpu import own_device
from cohort.runtime.private_ray import session_folder
from cohort.runtime.rendezvous import new_file, new_port
from cohort.runtime.usage import usage
from cohort.runtime.wire import Seat

Array = npt.NDArray[np.float32]
Records = dict[int, list[Means]]
"""Measurements that became due, by student."""


class HostActor:
    """Wraps a Host. Calls of one host run in the order in which they were submitted."""

    def __init__(self, threads: int, device: str) -> None:
        torch.set_num_threads(threads)
        self.device = own_device(device)
        self.clock = Clock()
        self.group: PosteriorGroup | None = None
        self.failure: Exception | None = None

    @ray.method
    def build(
        self,
        networks: Mapping[int, Network],
        plan: TrainingPlan,
        dataset: ImageDataset,
        objective: MutualLearning,
    ) -> dict[str, Any]:
        """Make the students at step 0; returns where they run and how large each is.

        Raises ConfigError for a precision that the device does not have.
        """
        check_device(plan.precision, self.device)
        set_precision(plan.precision)  # the process is this host's
        self.host = Host(networks, plan, dataset, objective, device=self.device)
        self.failure = None
        sizes = {
            learner.student: count_parameters(learner.network) for learner in self.host.learners
        }
        return {"parameters": sizes, **self._place()}

    @ray.method
    def whereabouts(self) -> dict[str, Any]:
        """Node, address, process and device of this host; also proof that it is alive."""
        return self._place()

    @ray.method
    def read(self, dataset: ImageDataset, feed: NodeFeed | None) -> None:
        """Learn from these data from now on; pictures in files come from this node's feed, if any."""
        self.host.read(dataset if feed is None else with_feed(dataset, feed))

    @ray.method
    def connect(self, seat: Seat) -> None:
        """Write to other hosts, and read what they write, as ``seat`` says."""
        self.seat = seat

    # One step, through the object store: shown is what all other hosts wrote, in order

    @ray.method
    def predict(self, step: int) -> Letter:
        """Log-posteriors on the batch of ``step``, for other hosts."""
        with self._step():
            return self._write(self.host.predict(step))

    @ray.method
    def learn(self, step: int, *shown: Letter) -> None:
        """Learn from what other hosts have shown."""
        with self._step():
            self.host.learn(step, *self._read(shown))

    @ray.method
    def learn_then_predict(self, step: int, *shown: Letter) -> Letter:
        """One task a step: learn from ``step``, then predict on the next one."""
        with self._step():
            self.host.learn(step, *self._read(shown))
            return self._write(self.host.predict(step + 1))

    @ray.method
    def learn_in_turn(self, step: int, *shown: Letter) -> Letter:
        """Learn from ``step`` one after the other, and show new posteriors (Algorithm 1)."""
        with self._step():
            return self._write(self.host.learn_in_turn(step, *self._read(shown)))

    @ray.method
    def learn_in_turn_then_predict(self, step: int, *shown: Letter) -> Letter:
        """The same of the last host, whose new posteriors nobody needs: then predict on the next step."""
        with self._step():
            self.host.learn_in_turn(step, *self._read(shown))
            return self._write(self.host.predict(step + 1))

    @ray.method
    def drain(self) -> Records:
        """Measurements that became due. Raises the error of a step that failed since the last restore."""
        if self.failure is not None:
            raise self.failure
        return self.host.drain()

    # Many steps in one task

    @ray.method
    def learn_apart(self, start: int, stop: int, sequential: bool) -> Records:
        """Steps ``start`` to ``stop`` without other hosts."""
        with self.clock.working():
            for step in range(start, stop):
                self.host.advance(step, sequential)
            return self.host.drain()

    @ray.method
    def rendezvous(self, one_node: bool) -> str:
        """A meeting place on this host's node for a new group."""
        return new_file(session_folder()) if one_node else new_port(_address())

    @ray.method
    def join_group(self, seat: Seat, store: str, backend: str) -> None:
        """Become a rank of the torch.distributed group in which messages are gathered, and try it."""
        self._leave_group()
        self.clock = Clock.of(backend)
        self.group = PosteriorGroup(seat, store, backend, self.device, self.clock)
        self.group.check()

    @ray.method
    def learn_in_group(self, start: int, stop: int, sequential: bool) -> Records:
        """Steps ``start`` to ``stop``, exchanging posteriors in the group."""
        assert self.group is not None, "learn_in_group without join_group"
        with self.clock.working():
            try:
                for step in range(start, stop):
                    self.group.exchange_and_learn(self.host, step, sequential)
            except BaseException:
                self._leave_group()
                raise
            return self.host.drain()

    # Between steps

    @ray.method
    def flush_records(self) -> Records:
        """Measurements of the steps since the last window that was full."""
        self.host.close_windows()
        return self.host.drain()

    @ray.method
    def notices(self) -> list[str]:
        """Sentences for the user that came up since the last call."""
        return self.host.notices()

    @ray.method
    def answers_over(self, split: str) -> dict[int, Array]:
        """What ``test`` or ``validation`` asks of each: log-posteriors [N, C], or features [N, D]."""
        answers = self.host.answers_over(getattr(self.host.dataset, split))
        return {student: to_numpy(answer) for student, answer in answers.items()}

    @ray.method
    def mean_entropies_over(self, split: str) -> dict[int, float]:
        """Mean entropy in nats of each student's evaluation posterior over a split."""
        answers = self.host.answers_over(getattr(self.host.dataset, split))
        return {student: float(entropy(answer).mean()) for student, answer in answers.items()}

    @ray.method
    def snapshot(self, student: int) -> tuple[None, Files]:
        """That it was taken, and a student's state after the last step, as files."""
        return None, self.host.snapshot(student)

    @ray.method
    def restore(self, files: Mapping[int, Files]) -> None:
        """Put students back to a snapshot of each."""
        for student, of_student in files.items():
            self.host.restore(student, of_student)
        self.failure = None
        self.clock.reset()

    @ray.method
    def times(self) -> Times:
        """Seconds busy and waiting in the steps since the last call, and what with."""
        return replace(self.clock.take(), parts=self.host.spent())

    @ray.method
    def keep(self, students: Sequence[int]) -> None:
        """Go on without all others."""
        self.host.keep(students)

    @ray.method
    def weights_sha256(self) -> dict[int, str]:
        """Hash of each student's parameters and buffers."""
        return {learner.student: weights_sha256(learner.network) for learner in self.host.learners}

    @ray.method
    def usage(self) -> dict[str, float]:
        """CPU seconds and largest resident size in bytes of this process so far."""
        return usage()

    def _place(self) -> dict[str, Any]:
        return {
            "node": ray.get_runtime_context().get_node_id(),
            "address": _address(),
            "pid": os.getpid(),
            "device": str(self.device),
            "gpus": tuple(ray.get_gpu_ids()),
        }

    @contextlib.contextmanager
    def _step(self) -> Iterator[None]:
        """Inside is a task of a step; one after a task that failed fails by the same error."""
        if self.failure is not None:
            raise self.failure
        with self.clock.working():
            try:
                yield
            except Exception as error:
                self.failure = error
                raise

    def _write(self, shown_SBC: Tensor) -> Letter:
        self._written = self.seat.messages.write(shown_SBC)
        return sealed(self._written)

    def _read(self, shown: Sequence[Letter]) -> tuple[list[Peer], list[Peer]]:
        return self.seat.around([opened(letter, self._written) for letter in shown])

    def _leave_group(self) -> None:
        """Close the group, if there is one: hosts that wait in it get an error at once."""
        if self.group is not None:
            self.group.close()
            self.group = None


def _address() -> str:
    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return address


def to_numpy(posterior: Tensor) -> Array:
    """A tensor's numbers on the CPU; without a copy if they are there."""
    array: Array = posterior.cpu().numpy()
    return array
