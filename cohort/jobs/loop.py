"""What each worker of a job does: the training loop, and what it tells the run's owner.

Knows no Ray: the owner is spoken to through a ``Channel``, in the same process or over one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from cohort.analysis.exits import DEEPEST, report_exits
from cohort.data.dataset import ImageDataset, Split
from cohort.learning.data_parallel import Workers
from cohort.learning.learner import Files, Learner
from cohort.learning.plan import TrainingPlan
from cohort.learning.records import Record
from cohort.learning.student_files import weights_sha256
from cohort.metrics.classification import entropy

Evaluation = dict[int | str, dict[str, Any]]


@dataclass(frozen=True)
class Final:
    """What is left of a student when training has reached its last step."""

    files: Files
    train_entropy: float
    weights_sha256: str


class Channel(Protocol):
    """The run's owner, as its leading worker sees it. Messages arrive in their order."""

    def begin(self) -> tuple[int, Files | None]:
        """The step from which to go on, and the files to restore."""
        ...

    def trained(self, records: Sequence[Record]) -> None:
        """Measurements that became due."""
        ...

    def pause(self, *, pausing: bool) -> None:
        """What follows is not training, or is again."""
        ...

    def evaluated(self, step: int, results: Mapping[int | str, Mapping[str, Any]]) -> None:
        """Test measurements of the student and of the ensemble of its exits."""
        ...

    def save(self, step: int, files: Files) -> None:
        """A checkpoint."""
        ...

    def finished(self, final: Final) -> None:
        """The last step is done."""
        ...

    def stopping(self) -> bool:
        """Whether somebody asked the run to stop."""
        ...


class Worker:
    """One of the workers; all of them run the same steps, and the leading one tells of them."""

    def __init__(
        self,
        learner: Learner,
        plan: TrainingPlan,
        dataset: ImageDataset,
        workers: Workers,
        channel: Channel,
    ) -> None:
        self.learner = learner
        self.plan = plan
        self.dataset = dataset
        self.workers = workers
        self.channel = channel
        self.saved_at = -1
        self.evaluated_at = -1

    def run(self) -> None:
        """Train from where the run stands to the plan's last step, or until asked to stop."""
        step, files = self.channel.begin()
        if files is not None:
            self.learner.restore(files)
            self.saved_at = step
        else:
            self.save(step)
        stopping = False
        while step < self.plan.total_steps and not stopping:
            step, stopping = self._train_to(step, self.plan.next_stop(step))
            ended = step == self.plan.total_steps
            self._pause(pausing=True)
            # Evaluated first: the records up to a checkpoint's step are then complete.
            if ended or step % self.plan.eval_every == 0:
                self.evaluate(step)
            if ended or stopping or step % self.plan.checkpoint_every == 0:
                self._hand_over(flush=True)
                self.save(step)
            self._pause(pausing=False)
        if step == self.plan.total_steps:
            self._finish(step)

    def evaluate(self, step: int) -> None:
        """Measure every exit on the test split, each worker on its part of it."""
        self.evaluated_at = step
        self.workers.synchronise_buffers(self.learner.network)
        log_posteriors = self._exits_over(self.dataset.test)
        if self.workers.leads:
            labels_N = torch.from_numpy(self.dataset.test.labels)
            self.channel.evaluated(step, measure(log_posteriors, labels_N))

    def save(self, step: int) -> None:
        """Hand a checkpoint over, if this worker leads; all have the same state."""
        self.saved_at = step
        if self.workers.leads:
            self.channel.save(step, self.learner.snapshot())

    def _train_to(self, step: int, stop: int) -> tuple[int, bool]:
        """Steps ``step`` to ``stop``, or until asked to stop; all workers leave at the same one."""
        stopping = False
        while step < stop and not stopping:
            self.learner.predict(step)
            self.learner.learn(step)
            step += 1
            self._hand_over()
            wish = self.workers.leads and self.channel.stopping()
            stopping = self.workers.agree(wish, self.learner.device)
        return step, stopping

    def _hand_over(self, *, flush: bool = False) -> None:
        if flush:
            self.learner.close_window()
        records = self.learner.records.drain()
        if self.workers.leads and records:
            self.channel.trained(records)

    def _pause(self, *, pausing: bool) -> None:
        if self.workers.leads:
            self.channel.pause(pausing=pausing)

    def _exits_over(self, split: Split) -> list[torch.Tensor]:
        parts = self.learner.log_posteriors_over(self.workers.share(split))
        return [self.workers.gather(part) for part in parts]

    def _finish(self, step: int) -> None:
        if self.evaluated_at != step:  # a run that was resumed when all was done
            self.evaluate(step)
        train_entropy = float(entropy(self._exits_over(self.dataset.train)[-1]).mean())
        if self.workers.leads:
            network = self.learner.network
            final = Final(self.learner.snapshot(), train_entropy, weights_sha256(network))
            self.channel.finished(final)


def measure(log_posteriors: Sequence[torch.Tensor], labels_N: torch.Tensor) -> Evaluation:
    """Test measurements of the deepest exit, of all exits, and of ensembles by mean posterior.

    ``log_posteriors`` are [N, C] each, shallowest exit first; a plain network has one and no
    ``exits``. With more than three exits, the deepest three are an ensemble too (Table 5).
    """
    report = report_exits(log_posteriors, labels_N)
    deepest: dict[str, Any] = dict(report.exits[-1])
    if len(report.exits) > 1:
        names = report.exits[-1]
        deepest["exits"] = {name: [measured[name] for measured in report.exits] for name in names}
    result: Evaluation = {0: deepest, "ensemble": dict(report.ensemble)}
    if len(report.exits) > DEEPEST:
        result["ensemble_deepest"] = dict(report.deepest)
    return result
