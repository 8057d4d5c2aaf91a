"""Who owns a run while it trains: saves it, counts what happens to it, measures its time, and may end it."""

import contextlib
import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from functools import partial
from threading import Event
from typing import Any, TypeVar

from cohort.errors import ConfigError, RunError
from cohort.learning.learner import Files
from cohort.learning.plan import TrainingPlan
from cohort.learning.pretrained import Pretrained
from cohort.run.background import in_background
from cohort.run.checkpoint import Checkpoint, Progress, newest_checkpoint, write_checkpoint
from cohort.run.folder import RunFolder
from cohort.run.journal import Journal
from cohort.run.watcher import Watcher

WRITING_SECONDS = 10.0
"""How long a run that failed waits for the checkpoint that it was writing."""
CLOSING_SECONDS = 3.0
"""How long any run waits at its end for the thread that writes; a storage may keep it longer."""
Kind = TypeVar("Kind")


class Owner:
    """The one process that writes a run's folder, whatever trains its students.

    Args:
        folder: the run's folder.
        journal: what is recorded.
        plan: how far the run goes.
        keep: newest checkpoints that are kept.
        checkpoint: from where the run goes on; None for a new run.
        asked: whether somebody asked the run to stop.
        watcher: told of checkpoints, and may stop the run too; None if nobody watches.
        start: the weights that students of a new run start from, if not from random numbers.
        settings: the keys of the config that no run may change, kept with each checkpoint.
    """

    def __init__(
        self,
        folder: RunFolder,
        journal: Journal,
        plan: TrainingPlan,
        *,
        keep: int,
        checkpoint: Checkpoint | None,
        asked: Callable[[], bool],
        watcher: Watcher | None = None,
        start: Mapping[int, Pretrained] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.journal = journal
        self.plan = plan
        self.checkpoint = checkpoint
        self._writing: Future[Checkpoint] | None = None
        self._closing = Event()
        self.progress = copy.deepcopy(checkpoint.progress) if checkpoint else Progress()
        self._keep = keep
        self._asked = asked
        self._watcher = watcher
        self.start = start or {}
        self._settings = settings or {}

    @property
    def step(self) -> int:
        """Steps done according to the newest checkpoint."""
        return self.checkpoint.step if self.checkpoint else 0

    @property
    def wall_seconds(self) -> float:
        """Seconds of this run, the parts before it was resumed included."""
        return self.progress.wall_seconds + self.journal.elapsed

    @property
    def times(self) -> dict[str, float]:
        """Seconds of this run by what they were spent on, the parts before it was resumed included."""
        before, now = self.progress.times, self.journal.times
        return {what: before.get(what, 0.0) + now.get(what, 0.0) for what in {**before, **now}}

    def stopping(self) -> bool:
        """Whether the run is to end here, with a checkpoint.

        Raises RunError if its folder is gone, and OSError if the checkpoint that was being written
        could not be.
        """
        self.folder.check_kept()
        if self._writing is not None and self._writing.done():
            self.settle()
        return self._asked() or (self._watcher is not None and self._watcher.stopping())

    def save(self, step: int, snapshots: Iterable[tuple[int, Files]]) -> None:
        """Begin to write a checkpoint of ``step`` steps done, while training goes on.

        It counts once it is whole on disk, for which ``settle`` waits. The one before is waited for,
        and with a watcher this one too, for whom it decides what is trained.

        Args:
            step: steps done.
            snapshots: (student, files) one at a time, for a thread that is not this one.

        Raises RunError if the run's folder is gone, and OSError if the one before could not be written.
        """
        self.settle()
        self.folder.check_kept()
        progress = copy.deepcopy(self.progress)
        progress.wall_seconds, progress.times = self.wall_seconds, self.times
        hold = self.folder.hold()
        self._writing = in_background(partial(self._write, step, snapshots, progress, hold))
        if self._watcher is not None:
            self.settle()

    def settle(self) -> None:
        """Wait until the checkpoint that is being written is whole on disk, and counts.

        Raises OSError if it could not be written, what its snapshots raised, and RunError if the
        run's folder is gone or its storage stays away.
        """
        if self._writing is None:
            return
        wait([self._writing])
        writing, self._writing = self._writing, None
        self.checkpoint = writing.result()
        self.folder.check_kept()
        if self._watcher is not None:
            self._watcher.saved(self.checkpoint.step, self.plan.total_steps)

    def give_up(self, seconds: float | None = WRITING_SECONDS) -> None:
        """Let the checkpoint that is being written count if it can be, and forget it if not."""
        if self._writing is not None:
            done, _ = wait([self._writing], seconds)
            with contextlib.suppress(Exception):
                self.checkpoint = self._writing.result(timeout=0)
            if done:
                self._writing = None

    def close(self) -> None:
        """Write no more, however the run ended: a checkpoint that is half written is none."""
        self._closing.set()
        if self._writing is not None:
            wait([self._writing], CLOSING_SECONDS)

    def _write(
        self, step: int, snapshots: Iterable[tuple[int, Files]], progress: Progress, hold: int
    ) -> Checkpoint:
        """In a thread, which may outlive the run, and holds the folder until it has ended."""
        try:
            self.folder.check_kept()  # or it would be written into the folder of another run
            checkpoint = write_checkpoint(
                self.folder.checkpoints,
                step,
                self._until_closed(snapshots),
                progress=progress,
                keep=self._keep,
                settings=self._settings,
            )
            self.folder.saved(checkpoint, self._keep)
            return checkpoint
        finally:
            os.close(hold)

    def _until_closed(self, snapshots: Iterable[tuple[int, Files]]) -> Iterator[tuple[int, Files]]:
        """Snapshots, of which none is asked for any more once the students may be gone."""
        following = iter(snapshots)
        while True:
            if self._closing.is_set():
                raise InterruptedError("the run ended before its checkpoint was written")
            try:
                yield next(following)
            except StopIteration:
                return

    def fresh(self, student: int, files: Files) -> Files:
        """A student's files at step 0, from those of its random numbers."""
        return self.start[student].into(files) if student in self.start else files

    def go_back(self) -> Checkpoint:
        """The newest checkpoint that is whole on disk. Raises RunError if there is none."""
        self.give_up(None)
        self.checkpoint = newest_checkpoint(self.folder.checkpoints)
        if self.checkpoint is None:
            raise RunError(f"no checkpoint in {self.folder.checkpoints} is whole any more")
        return self.checkpoint

    def head(self, status: str, of_method: dict[str, Any]) -> dict[str, Any]:
        """What summary.json begins with, whatever came of the run."""
        return {
            "status": status,
            "steps": self.step,
            "epochs": self.plan.epoch(self.step),
            "seed": self.plan.seed,
            "wall_seconds": self.wall_seconds,
            "images_per_second": self._images_per_second(),
            "restarts": self.progress.restarts,
            "dropped": self.progress.dropped,
            "times": [{"what": what, "seconds": spent} for what, spent in self.times.items()],
            **of_method,
            "students": [],
            "ensemble": None,
        }

    def _images_per_second(self) -> float | None:
        """As measured, or, if too little was left to train for that, as before the run was resumed."""
        measured = self.journal.images_per_second
        if measured is not None:
            return measured
        return self.told_before("images_per_second", float)

    def told_before(self, key: str, kind: type[Kind]) -> Kind | None:
        """What the summary says of a run that was resumed; None if it says nothing of the kind."""
        try:
            before = self.folder.read_summary().get(key)
        except ConfigError:  # there is none, or it is damaged: no reason to lose this run's
            return None
        return before if isinstance(before, kind) else None
