"""What each worker of a job does: the training loop, and what it tells the run's owner.

Knows no Ray: the owner is spoken to through a ``Channel``, in the same process or over one.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import nn

from cohort.data.dataset import Split
from cohort.jobs.job import STUDENT, Job
from cohort.learning.data_parallel import Workers, synchronised_batch_norm
from cohort.learning.learner import Files, Learner, weights_bytes
from cohort.learning.lessons import lessons_for
from cohort.learning.student_files import weights_sha256
from cohort.learning.windows import Means
from cohort.metrics.classification import entropy
from cohort.reporting.records import Phase

BEST_WEIGHTS = "best.safetensors"
BEST_NOTES = "best.json"


@dataclass(frozen=True, kw_only=True)
class Best:
    """The weights of the best step, by validation accuracy, and among equals by NLL."""

    step: int
    validation: dict[str, Any]
    """The student's measurements on the validation split."""
    test: dict[str, Any]
    """The student's measurements on the test split, which chose nothing."""
    weights: bytes

    def is_beaten_by(self, validation: dict[str, Any]) -> bool:
        """Whether other measurements on the validation split are better than these."""
        return _merit(validation) > _merit(self.validation)

    def files(self) -> Files:
        """The weights and measurements as files, for a checkpoint."""
        notes = {"step": self.step, "validation": self.validation, "test": self.test}
        return {BEST_WEIGHTS: self.weights, BEST_NOTES: json.dumps(notes).encode()}

    @classmethod
    def of_files(cls, files: Files) -> Self | None:
        """The best that a checkpoint's files hold; None if they hold none."""
        if BEST_NOTES not in files:
            return None
        return cls(**json.loads(files[BEST_NOTES]), weights=files[BEST_WEIGHTS])


def _merit(measured: dict[str, Any]) -> tuple[float, float]:
    return measured["accuracy"], -measured["nll"]


@dataclass(frozen=True)
class Final:
    """What is left of a student when training has reached its last step."""

    files: Files
    train_entropy: float
    weights_sha256: str
    best: Best | None
    """The best student so far, if there is a validation split to choose it by."""
    concluded: Mapping[str, Any]
    """What ``Job.conclude`` measured after the last step."""


class Channel(Protocol):
    """The run's owner, as its leading worker sees it. Messages arrive in their order."""

    def begin(self) -> tuple[int, Files | None]:
        """The step from which to go on, and the files to restore."""
        ...

    def trained(self, records: Sequence[Means]) -> None:
        """Take measurements that became due."""
        ...

    def notice(self, text: str) -> None:
        """Take a sentence for the person who watches."""
        ...

    def pause(self, *, pausing: bool) -> None:
        """Note that what follows is not training, or is again."""
        ...

    def evaluated(
        self, step: int, results: Mapping[int | str, Mapping[str, Any]], phase: Phase
    ) -> None:
        """Take measurements of the student, and of ensembles of its exits or members, on a split."""
        ...

    def save(self, step: int, files: Files) -> None:
        """Keep a checkpoint: the files of the learner after ``step`` steps."""
        ...

    def finished(self, final: Final) -> None:
        """Take what is left of the student, once the last step is done."""
        ...

    def stopping(self) -> bool:
        """Whether somebody asked the run to stop."""
        ...

    def saving(self) -> bool:
        """Whether a checkpoint is wanted now, for nodes are to go; no more once it was saved."""
        ...


class Worker:
    """One of the workers; all of them run the same steps, and the leading one tells of them."""

    def __init__(self, job: Job, learner: Learner, workers: Workers, channel: Channel) -> None:
        self.job = job
        self.learner = learner
        self.lessons = lessons_for([learner], workers=workers.size)
        self.plan = job.plan
        self.dataset = job.dataset
        self.workers = workers
        self.channel = channel
        self.best: Best | None = None
        self.saved_at = -1
        self.evaluated_at = -1

    def run(self) -> None:
        """Train from where the run stands to the plan's last step, or until asked to stop."""
        step, files = self.channel.begin()
        if files is not None:
            self.learner.restore(files)
            self.lessons.renew([self.learner])
            self.best = Best.of_files(files)
            self.saved_at = step
        else:
            self.save(step)
        stopping = False
        while step < self.plan.total_steps and not stopping:
            step, halted = self._train_to(step, self.plan.next_stop(step))
            stopping = halted and self._agree(self.channel.stopping)
            ended = step == self.plan.total_steps
            self._pause(pausing=True)
            # Evaluated first: the records up to a checkpoint's step are then complete.
            if ended or step % self.plan.eval_every == 0:
                self.evaluate(step)
            if ended or halted or step % self.plan.checkpoint_every == 0:
                self._hand_over(flush=True)
                self.save(step)
            self._pause(pausing=False)
        if step == self.plan.total_steps:
            self._finish(step)

    def evaluate(self, step: int) -> None:
        """Measure on the test split, and on the validation split if any; each worker its part."""
        self.evaluated_at = step
        self.workers.synchronise_buffers(self.learner.network)
        test, validation = self.dataset.test, self.dataset.validation
        tested = self._answers_over(test)
        held_out = None if validation is None else self._answers_over(validation)
        if not self.workers.leads:
            return
        of_test = self.job.evaluate(test, tested, held_out, self.learner.device)
        self.channel.evaluated(step, of_test, "test")
        if validation is not None and held_out is not None:
            of_validation = self.job.evaluate(validation, held_out, held_out, self.learner.device)
            self.channel.evaluated(step, of_validation, "validation")
            self._keep_best(step, of_validation[STUDENT], of_test[STUDENT])

    def _keep_best(self, step: int, validation: dict[str, Any], test: dict[str, Any]) -> None:
        if self.best is None or self.best.is_beaten_by(validation):
            weights = weights_bytes(self.learner.network)
            self.best = Best(step=step, validation=validation, test=test, weights=weights)

    def save(self, step: int) -> None:
        """Hand a checkpoint over, if this worker leads; all have the same state."""
        self.saved_at = step
        if self.workers.leads:
            self.channel.save(
                step, self.learner.snapshot() | (self.best.files() if self.best else {})
            )

    def _train_to(self, step: int, stop: int) -> tuple[int, bool]:
        """Steps ``step`` to ``stop``, or until asked to halt; all workers leave at the same one."""
        halted = False
        while step < stop and not halted:
            self.lessons.advance(step)
            step += 1
            self._hand_over()
            halted = self._agree(lambda: self.channel.stopping() or self.channel.saving())
        return step, halted

    def _agree(self, wish: Callable[[], bool]) -> bool:
        """What the leading worker wishes: all do."""
        return self.workers.agree(self.workers.leads and wish(), self.learner.device)

    def _hand_over(self, *, flush: bool = False) -> None:
        if flush:
            self.learner.close_window()
        records = self.learner.windows.drain()
        if self.workers.leads and records:
            self.channel.trained(records)
        for text in self.lessons.notices():
            self.channel.notice(text)

    def _pause(self, *, pausing: bool) -> None:
        if self.workers.leads:
            self.channel.pause(pausing=pausing)

    def _answers_over(self, split: Split) -> list[torch.Tensor]:
        parts = self.learner.answers_over(self.workers.part_of(split))
        return [self.workers.gather(part) for part in parts]

    def _finish(self, step: int) -> None:
        if self.evaluated_at != step:  # a run that was resumed when all was done
            self.evaluate(step)
        answers_NC = self.job.answer(self._answers_over(self.dataset.train))
        concluded = self.job.conclude(self.learner, self.workers)
        if self.workers.leads:
            final = Final(
                self.learner.snapshot(),
                float(entropy(answers_NC).mean()),
                weights_sha256(self.learner.network),
                self.best,
                concluded,
            )
            self.channel.finished(final)


def work(job: Job, workers: Workers, device: torch.device, channel: Channel) -> None:
    """Build the learner and train it to the plan's last step, or until asked to stop."""
    learner = job.build_learner(workers, device)
    together = job.config.batch_norm == "synchronised"
    trained = nn.ModuleList([learner.network, learner.adapters])
    with synchronised_batch_norm(trained, workers if together else Workers()):
        Worker(job, learner, workers, channel).run()
