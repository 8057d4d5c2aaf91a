"""The training loop of a cohort: advance, evaluate, save, and recover when students die."""

import dataclasses
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch

from cohort.data.dataset import ImageDataset, Split
from cohort.errors import RunError
from cohort.learning.plan import TrainingPlan
from cohort.metrics.classification import evaluate_posterior, mean_posterior
from cohort.run.checkpoint import Checkpoint, newest_checkpoint, write_checkpoint
from cohort.run.folder import RunFolder
from cohort.run.journal import Journal
from cohort.run.watcher import Watcher
from cohort.runtime.cohort import Cohort, HeldOut
from cohort.runtime.recovery import Drop, RecoveryPolicy, Restart, Stop

Evaluation = dict[int | str, dict[str, float]]


@dataclass
class Progress:
    """What a run has counted so far; saved with every checkpoint."""

    restarts: int = 0
    dropped: list[int] = field(default_factory=list)
    wall_seconds: float = 0.0

    @property
    def failures(self) -> int:
        """Deaths of students so far."""
        return self.restarts + len(self.dropped)


class Coordinator:
    """Drives a cohort, whichever way its students run, from one step to the last."""

    def __init__(
        self,
        cohort: Cohort,
        plan: TrainingPlan,
        dataset: ImageDataset,
        folder: RunFolder,
        journal: Journal,
        policy: RecoveryPolicy,
        *,
        keep: int,
        stopping: Callable[[], bool],
        watcher: Watcher,
    ) -> None:
        self.cohort = cohort
        self.plan = plan
        self.dataset = dataset
        self.folder = folder
        self.journal = journal
        self.policy = policy
        self.keep = keep
        self.watcher = watcher
        self._asked = stopping
        self.progress = Progress()
        self.evaluation: Evaluation = {}
        """The newest one, of ``evaluated_at`` steps done."""
        self.evaluated_at = -1
        self.saved_at = -1

    def begin(self, checkpoint: Checkpoint | None) -> int:
        """Put the cohort where the checkpoint is, else save step 0; returns the step."""
        if checkpoint is None:
            self.save(0)
            return 0
        self.progress = Progress(**checkpoint.progress)
        gone = [student for student in self.cohort.students if student not in checkpoint.students]
        self.cohort.drop(gone)
        self.cohort.restore(checkpoint.load)
        self.journal.rewind(checkpoint.step, self.cohort.students)
        self.saved_at = checkpoint.step
        return checkpoint.step

    def train(self, step: int) -> int:
        """Train from ``step`` steps done to the plan's last, or until stopped; returns steps done."""
        self.journal.start(step, self.cohort.students)
        while step < self.plan.total_steps and not self.stopping():
            try:
                step = self._train_to(step, self.plan.next_stop(step))
            except Exception as error:
                step = self._recover(error)
        if step != self.saved_at:  # asked to stop between two checkpoints
            with self.journal.paused():
                self.cohort.flush_records(self.journal.trained)
                self.save(step)
        return step

    def evaluate(self, step: int) -> Evaluation:
        """Test measurements of every student and of the ensemble of their mean posterior.

        Measured on the validation split too, if there is one, for whoever chooses by it.
        """
        self.evaluation, self.evaluated_at = self._measure("test", self.dataset.test), step
        self.journal.evaluated(step, self.evaluation)
        if self.dataset.validation is not None:
            validation = self._measure("validation", self.dataset.validation)
            self.journal.evaluated(step, validation, "validation")
        return self.evaluation

    def _measure(self, name: HeldOut, split: Split) -> Evaluation:
        labels = torch.from_numpy(split.labels)
        posteriors = self.cohort.log_posteriors(name)
        result: Evaluation = {k: evaluate_posterior(p, labels) for k, p in posteriors.items()}
        ensemble = mean_posterior(list(posteriors.values()))
        result["ensemble"] = evaluate_posterior(ensemble, labels)
        return result

    def save(self, step: int) -> Checkpoint:
        """Write a checkpoint of the whole cohort at ``step``."""
        self.saved_at = step
        progress = dataclasses.replace(self.progress, wall_seconds=self.wall_seconds)
        checkpoint = write_checkpoint(
            self.folder.checkpoints,
            step,
            self.cohort.snapshots(),
            progress=asdict(progress),
            keep=self.keep,
        )
        self.watcher.saved(step, self.plan.total_steps)
        return checkpoint

    def stopping(self) -> bool:
        """Whether somebody asked the run to stop."""
        return self._asked() or self.watcher.stopping()

    @property
    def wall_seconds(self) -> float:
        """Seconds of this run, the parts before it was resumed included."""
        return self.progress.wall_seconds + self.journal.elapsed

    def _train_to(self, step: int, stop: int) -> int:
        step = self.cohort.advance(step, stop, self.journal.trained, self.stopping)
        ended = step == self.plan.total_steps
        with self.journal.paused():
            # Evaluated first: the records up to a checkpoint's step are then complete.
            if ended or step % self.plan.eval_every == 0:
                self.evaluate(step)
            if ended or step % self.plan.checkpoint_every == 0:
                self.cohort.flush_records(self.journal.trained)
                self.save(step)
        return step

    def _recover(self, error: Exception) -> int:
        """Decide about students that died and go back to the last checkpoint; returns its step.

        An error that killed nobody is the program's or the user's, and would come again: raised.
        """
        while dead := self.cohort.casualties():
            failures = self.progress.failures + len(dead)
            alive = len(self.cohort.students) - len(dead)
            decision = self.policy.decide(dead, failures, alive)
            if isinstance(decision, Stop):
                raise RunError(decision.reason) from error
            try:
                with self.journal.paused():
                    return self._carry_out(decision)
            except RunError:
                raise
            except Exception as another:  # somebody died while the cohort recovered
                error = another
        raise error

    def _carry_out(self, decision: Restart | Drop) -> int:
        if isinstance(decision, Restart):
            self.progress.restarts += len(decision.students)
            self.cohort.replace(decision.students)
        else:
            self.progress.dropped += decision.students
            self.cohort.drop(decision.students)
        checkpoint = newest_checkpoint(self.folder.checkpoints)
        if checkpoint is None:
            raise RunError(f"no checkpoint in {self.folder.checkpoints} is whole any more")
        self.cohort.restore(checkpoint.load)
        self.journal.rewind(checkpoint.step, self.cohort.students)
        names = ", ".join(map(str, decision.students))
        self.journal.notice(
            f"student {names} died and was {decision.verb}; all go on from step {checkpoint.step}"
        )
        return checkpoint.step
