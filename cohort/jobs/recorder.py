"""The owner of a job's run: writes down what the leading worker tells."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from cohort.jobs.job import STUDENT, Evaluation
from cohort.jobs.worker import Final
from cohort.learning.learner import Files
from cohort.learning.plan import TrainingPlan
from cohort.learning.windows import Means
from cohort.reporting.records import Phase
from cohort.run.checkpoint import Checkpoint, write_checkpoint
from cohort.run.folder import RunFolder
from cohort.run.journal import Journal
from cohort.run.watcher import Watcher
from cohort.runtime.coordinator import Progress


@dataclass
class JobProgress(Progress):
    """What a job has counted so far."""

    teacher_restarts: int = 0


class Recorder:
    """A ``Channel`` in the process that owns the run folder."""

    def __init__(
        self,
        folder: RunFolder,
        journal: Journal,
        plan: TrainingPlan,
        checkpoint: Checkpoint | None,
        *,
        keep: int,
        stopping: Callable[[], bool],
        watcher: Watcher,
    ) -> None:
        self.folder = folder
        self.journal = journal
        self.plan = plan
        self.checkpoint = checkpoint
        self.keep = keep
        self.watcher = watcher
        self._asked = stopping
        self.progress = JobProgress(**checkpoint.progress if checkpoint else {})
        self.evaluation: Evaluation = {}
        self.final: Final | None = None
        self._began = False
        self._pausing = contextlib.ExitStack()

    @property
    def step(self) -> int:
        """Steps done according to the newest checkpoint."""
        return self.checkpoint.step if self.checkpoint else 0

    @property
    def wall_seconds(self) -> float:
        """Seconds of this run, the parts before it was resumed included."""
        return self.progress.wall_seconds + self.journal.elapsed

    def beginning(self) -> tuple[int, Files | None]:
        """The step from which to go on, and the files to restore."""
        return self.step, self.checkpoint.load(STUDENT) if self.checkpoint else None

    def begin(self) -> tuple[int, Files | None]:
        """Workers begin, for the first time or after some of them died."""
        self._pausing.close()
        if self._began:
            self.progress.restarts += 1
            self.journal.notice(f"a worker died; all go on from step {self.step}")
        if self._began or self.checkpoint:
            self.journal.rewind(self.step, [STUDENT])
        # Its clock runs on over a restart: workers that are being replaced are time too.
        if not self._began:
            self.journal.start(self.step, [STUDENT])
        self._began = True
        return self.beginning()

    def teachers_restarted(self, teachers: Sequence[int]) -> None:
        """An actor of a pool died, and is started again with its teachers."""
        self.progress.teacher_restarts += 1
        numbers = ", ".join(map(str, teachers))
        self.journal.notice(f"the actor of teachers {numbers} died; it starts again")

    def trained(self, records: Sequence[Means]) -> None:
        """Measurements that became due."""
        self.journal.trained(STUDENT, records)

    def pause(self, *, pausing: bool) -> None:
        """What follows is not training, or is again."""
        self._pausing.close()
        if pausing:
            self._pausing.enter_context(self.journal.paused())

    def evaluated(
        self, step: int, results: Mapping[int | str, Mapping[str, Any]], phase: Phase
    ) -> None:
        """Measurements of the student, and of ensembles of its exits or members, on a split."""
        self.journal.evaluated(step, results, phase)
        if phase == "test":
            self.evaluation = {who: dict(measured) for who, measured in results.items()}

    def save(self, step: int, files: Files) -> None:
        """A checkpoint."""
        progress = replace(self.progress, wall_seconds=self.wall_seconds)
        self.checkpoint = write_checkpoint(
            self.folder.checkpoints,
            step,
            [(STUDENT, files)],
            progress=asdict(progress),
            keep=self.keep,
        )
        self.watcher.saved(step, self.plan.total_steps)

    def stopping(self) -> bool:
        """Whether somebody asked the run to stop."""
        return self._asked() or self.watcher.stopping()

    def finished(self, final: Final) -> None:
        """The last step is done."""
        self.final = final
