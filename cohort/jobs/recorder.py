"""What the leading worker of a job tells, written down for the owner of the run."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from cohort.jobs.job import STUDENT, Evaluation
from cohort.jobs.worker import Final
from cohort.learning.learner import Files
from cohort.learning.windows import Means
from cohort.reporting.records import Phase
from cohort.run.owner import Owner


class Recorder:
    """A ``Channel`` in the process that owns the run's folder."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.journal = owner.journal
        self.evaluation: Evaluation = {}
        """The newest one on the test split."""
        self.final: Final | None = None
        """Set once the last step is done."""
        self._began = False
        self._pausing = contextlib.ExitStack()

    def beginning(self) -> tuple[int, Files | None]:
        """The step from which to go on, and the files to restore."""
        self.owner.settle()
        checkpoint = self.owner.checkpoint
        return self.owner.step, checkpoint.load(STUDENT) if checkpoint else None

    def begin(self) -> tuple[int, Files | None]:
        """Workers begin, for the first time or after some of them died."""
        self._pausing.close()
        self.owner.settle()  # the step that workers go back to is the newest that was sent
        step = self.owner.step
        if self._began:
            self.owner.progress.restarts += 1
            self.journal.notice(f"a worker died; all go on from step {step}")
        if self._began or self.owner.checkpoint:
            self.journal.rewind(step, [STUDENT])
        # Its clock runs on over a restart: workers that are being replaced are time too.
        if not self._began:
            self.journal.start(step, [STUDENT])
        self._began = True
        return self.beginning()

    def teachers_restarted(self, teachers: Sequence[int]) -> None:
        """An actor of a pool died, and is started again with its teachers."""
        self.owner.progress.teacher_restarts += 1
        numbers = ", ".join(map(str, teachers))
        self.journal.notice(f"the actor of teachers {numbers} died; it starts again")

    def trained(self, records: Sequence[Means]) -> None:
        """Measurements that became due."""
        self.journal.trained(STUDENT, records)

    def notice(self, text: str) -> None:
        """A sentence for the person who watches."""
        self.journal.notice(text)

    def pause(self, *, pausing: bool) -> None:
        """What follows is not training, or is again."""
        self._pausing.close()
        if pausing:
            self._pausing.enter_context(self.journal.paused())
            self._pausing.enter_context(self.journal.timed("evaluation and checkpoints"))

    def evaluated(
        self, step: int, results: Mapping[int | str, Mapping[str, Any]], phase: Phase
    ) -> None:
        """Measurements of the student, and of ensembles of its exits or members, on a split."""
        self.journal.evaluated(step, results, phase)
        if phase == "test":
            self.evaluation = {who: dict(measured) for who, measured in results.items()}

    def save(self, step: int, files: Files) -> None:
        """A checkpoint."""
        self.owner.save(step, [(STUDENT, files)])

    def stopping(self) -> bool:
        """Whether the run is to end here, with a checkpoint."""
        return self.owner.stopping()

    def saving(self) -> bool:
        """Never: who is told that this machine goes is this process."""
        return False

    def finished(self, final: Final) -> None:
        """The last step is done."""
        self.final = final
