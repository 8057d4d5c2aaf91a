"""One student in a process of its own: a learner that answers messages.

The class is plain Python; ``ray.remote(Student)`` makes it an actor. Posteriors arrive and leave as
NumPy arrays, which Ray moves without a copy on the same node.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
import torch
from torch import Tensor

from cohort.data.dataset import ImageDataset
from cohort.data.fed import with_feed
from cohort.data.source import as_tensor
from cohort.learning.build import build_learner
from cohort.learning.learner import Files
from cohort.learning.plan import TrainingPlan
from cohort.learning.precision import set_precision
from cohort.learning.student_files import weights_sha256
from cohort.learning.windows import Means
from cohort.metrics.classification import entropy
from cohort.models.modules import count_parameters
from cohort.models.spec import Network
from cohort.objectives.mutual import MutualLearning
from cohort.runtime.collective import PosteriorGroup, new_store
from cohort.runtime.feeding import NodeFeed
from cohort.runtime.usage import usage

Posterior = npt.NDArray[np.float32]


class Student:
    """Wraps a Learner. Calls of one student run in the order in which they were submitted."""

    def __init__(self, student: int, threads: int, device: str) -> None:
        self.student = student
        torch.set_num_threads(threads)
        self.device = torch.device(device)
        self.group: PosteriorGroup | None = None

    @ray.method
    def build(
        self, network: Network, plan: TrainingPlan, dataset: ImageDataset, objective: MutualLearning
    ) -> dict[str, Any]:
        """Make the learner at step 0; returns where it runs and how large it is."""
        set_precision(plan.precision)  # the process is this student's
        self.dataset = dataset
        self.learner = build_learner(
            network, plan, dataset, objective, student=self.student, device=self.device
        )
        return {"parameters": count_parameters(self.learner.network), **self._place()}

    @ray.method
    def whereabouts(self) -> dict[str, Any]:
        """Node, address, process and device of this student; also proof that it is alive."""
        return self._place()

    @ray.method
    def read(self, dataset: ImageDataset, feed: NodeFeed | None) -> None:
        """Learn from these data from now on; pictures in files come from this node's feed, if any."""
        self.dataset = dataset if feed is None else with_feed(dataset, feed)
        self.learner.read(self.dataset)

    # One step, through the object store

    @ray.method
    def predict(self, step: int) -> Posterior:
        """Log-posterior [B, C] on the batch of ``step``."""
        return _to_numpy(self.learner.predict(step))

    @ray.method
    def learn(self, step: int, *peers: Posterior) -> list[Means]:
        """Learn from the peers' log-posteriors; returns the measurements that became due."""
        return self._learn(step, peers)

    @ray.method(num_returns=2)
    def learn_then_predict(self, step: int, *peers: Posterior) -> tuple[Posterior, list[Means]]:
        """One task a step: learn from ``step``, then predict on the next one."""
        records = self._learn(step, peers)
        return _to_numpy(self.learner.predict(step + 1)), records

    @ray.method(num_returns=2)
    def learn_then_repredict(self, step: int, *peers: Posterior) -> tuple[Posterior, list[Means]]:
        """Learn from ``step``, then predict on the same batch again (Algorithm 1)."""
        records = self._learn(step, peers)
        return _to_numpy(self.learner.repredict(step)), records

    # Many steps in one task

    @ray.method
    def learn_alone(self, start: int, stop: int) -> list[Means]:
        """Steps ``start`` to ``stop`` without peers."""
        for step in range(start, stop):
            self.learner.predict(step)
            self.learner.learn(step)
        return self.learner.windows.drain()

    @ray.method
    def rendezvous(self, one_node: bool) -> str:
        """A meeting place on this student's node for a new group."""
        return new_store(_address(), one_node)

    @ray.method
    def join_group(self, rank: int, size: int, store: str, backend: str) -> None:
        """Become a rank of the torch.distributed group in which posteriors are gathered."""
        self._leave_group()
        self.group = PosteriorGroup(rank, size, store, backend)

    @ray.method
    def learn_in_group(self, start: int, stop: int, sequential: bool) -> list[Means]:
        """Steps ``start`` to ``stop``, exchanging posteriors in the group."""
        assert self.group is not None, "learn_in_group without join_group"
        try:
            for step in range(start, stop):
                self.group.exchange_and_learn(self.learner, step, sequential)
        except BaseException:
            self._leave_group()
            raise
        return self.learner.windows.drain()

    # Between steps

    @ray.method
    def flush_records(self) -> list[Means]:
        """Measurements of the steps since the last window that was full."""
        self.learner.close_window()
        return self.learner.windows.drain()

    @ray.method
    def answer_over(self, split: str) -> Posterior:
        """What ``test`` or ``validation`` asks: the log-posterior [N, C], or features [N, D]."""
        return _to_numpy(self.learner.answer_over(getattr(self.dataset, split)))

    @ray.method
    def mean_entropy_over(self, split: str) -> float:
        """Mean entropy in nats of the evaluation posterior over a split."""
        log_posterior_NC = self.learner.answer_over(getattr(self.dataset, split))
        return float(entropy(log_posterior_NC).mean())

    @ray.method
    def snapshot(self) -> Files:
        """The learner's state after the last step, as files."""
        return self.learner.snapshot()

    @ray.method
    def restore(self, files: Files) -> None:
        """Put the learner back to a snapshot of this student."""
        self.learner.restore(files)

    @ray.method
    def weights_sha256(self) -> str:
        """Hash of the student's parameters and buffers."""
        return weights_sha256(self.learner.network)

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

    def _learn(self, step: int, peers: Sequence[Posterior]) -> list[Means]:
        self.learner.learn(step, [as_tensor(peer) for peer in peers])
        return self.learner.windows.drain()

    def _leave_group(self) -> None:
        """Close the group, if there is one: peers that wait in it get an error at once."""
        if self.group is not None:
            self.group.close()
            self.group = None


def _address() -> str:
    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return address


def _to_numpy(posterior: Tensor) -> Posterior:
    array: Posterior = posterior.cpu().numpy()
    return array
