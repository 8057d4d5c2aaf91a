"""Everything a run says, to everyone who listens: metrics.jsonl, trackers, a callback, a person."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Self

from cohort.learning.plan import TrainingPlan
from cohort.learning.schedule import learning_rate
from cohort.learning.windows import Means
from cohort.reporting.chronometer import Chronometer
from cohort.reporting.progress import Progress
from cohort.reporting.records import MetricsLog, Phase, Record, make_event, make_record
from cohort.reporting.tracking.aside import Aside
from cohort.reporting.tracking.tracker import About
from cohort.reporting.tracking.trackers import open_trackers
from cohort.run.folder import RunFolder
from cohort.run.interruption import Interruption

OnStep = Callable[[Record], None]
HURRIED_SECONDS = 2.0
"""For trackers, where a second signal stops the run at once."""


class Journal:
    """Turns what students measured into records, one for each of them, and hands them on.

    Args:
        folder: the run's folder.
        plan: to tell epochs from steps.
        names: the network of each student.
        trackers: names of those that are told too.
        config: what they are told of the run.
        on_step: called with each record.
        verbose: whether to show progress on the terminal.
        interruption: what may stop the run, to be shown.
        before: lines that were printed already.
    """

    def __init__(
        self,
        folder: RunFolder,
        plan: TrainingPlan,
        names: Mapping[int, str],
        *,
        trackers: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
        on_step: OnStep | None = None,
        verbose: bool = False,
        interruption: Interruption | None = None,
        before: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._plan = plan
        self._names = names
        self._names_of_trackers = trackers
        self._config = config or {}
        self._on_step = on_step
        self._chronometer = Chronometer()
        self._interruption = interruption or Interruption()
        self._progress = self._shown(before) if verbose else None
        self._log: MetricsLog | None = None
        self._trackers: list[Aside] = []
        self._newest: dict[int, Means] = {}
        self._students: Sequence[int] = ()
        self._step = 0
        self._spent: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._log = MetricsLog(self._folder.metrics)
        about = About(self._folder.path, self._folder.path.resolve().name, self._config)
        self._trackers = open_trackers(self._names_of_trackers, about, self._complain)
        if self._progress:
            self._progress.start()
            self._interruption.is_shown = self._progress.is_live
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._interruption.is_shown = False
        if self._progress:
            self._progress.finish()
        in_a_hurry = kind is not None and not issubclass(kind, Exception)
        for tracker in self._trackers:
            tracker.close(*(HURRIED_SECONDS,) * in_a_hurry)
        self._close()

    def start(self, step: int, students: Sequence[int]) -> None:
        """These students begin to train, at ``step`` steps done."""
        self._chronometer.start(step)
        self._students = students
        if self._progress:
            rows = [{"student": k, "model": self._names[k]} for k in sorted(students)]
            self._progress.begin(step, rows)
        self._step = step
        self._spent = {}
        if 0 < step < self._plan.total_steps:
            self._note(f"training goes on from step {step}")

    def rewind(self, step: int, students: Sequence[int]) -> None:
        """Forget what was recorded after ``step``: these students will train it again."""
        self._students = students
        self._step = step
        self._close()
        if self._folder.metrics.exists():
            ended = step == self._plan.total_steps
            MetricsLog.rewind(self._folder.metrics, step, ended=ended)
        self._newest.clear()
        self._log = MetricsLog(self._folder.metrics)
        for tracker in self._trackers:
            tracker.rewind(step)

    def trained(self, student: int, records: Sequence[Means]) -> None:
        """Training measurements of one student, each with the step it was made at."""
        for measured in records:
            step = int(measured["step"])
            self._write("train", step, student, {k: v for k, v in measured.items() if k != "step"})
            self._newest[student] = measured
            self._show(step)

    def evaluated(
        self, step: int, results: Mapping[int | str, Mapping[str, float]], phase: Phase = "test"
    ) -> None:
        """Measurements of every student and of the ensemble, on the test or the validation split."""
        for student, measurements in results.items():
            self._write(phase, step, student, measurements)
        if self._progress:
            rows = [{"student": k, **v} for k, v in results.items()]
            self._progress.evaluated(step, rows, phase)

    def concluded(self, summary: Mapping[str, Any]) -> None:
        """The run has ended, and wrote this."""
        for tracker in self._trackers:
            tracker.conclude(summary)

    def notice(self, text: str) -> None:
        """One line for the person who watches, and for whoever looks at the run later."""
        self._note(text)
        if self._progress:
            self._progress.notice(text)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside is not training."""
        with self._chronometer.paused():
            yield

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Time inside is spent on this; ``times`` tells how much."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._spent[what] = self._spent.get(what, 0.0) + time.monotonic() - began

    @property
    def times(self) -> dict[str, float]:
        """Seconds since training began or was resumed, by what they were spent on."""
        return {"training": self._chronometer.training_seconds, **self._spent}

    @property
    def elapsed(self) -> float:
        """Seconds since training began or was resumed."""
        return self._chronometer.elapsed

    @property
    def images_per_second(self) -> float | None:
        """Training images per student and second after warm-up; None until measured."""
        steps = self._chronometer.steps_per_second
        return None if steps is None else steps * self._plan.batch_size

    def _write(
        self, phase: Phase, step: int, student: int | str, measurements: Mapping[str, Any]
    ) -> None:
        epoch = round(self._plan.epoch(step), 4)
        record = make_record(
            phase=phase, step=step, epoch=epoch, student=student, measurements=measurements
        )
        assert self._log is not None, "the journal is not open"
        self._step = max(self._step, step)
        self._log.write(record)
        for tracker in self._trackers:
            tracker.write(record)
        if self._on_step:
            self._on_step(record)

    def _note(self, text: str) -> None:
        if self._log is not None:
            epoch = round(self._plan.epoch(self._step), 4)
            self._log.write(make_event(self._step, epoch, text))

    def _show(self, step: int) -> None:
        """A row per student, once all have reached the step."""
        reached = [k for k, measured in self._newest.items() if measured["step"] == step]
        if len(reached) < len(self._students):
            return
        self._chronometer.tick(step)
        if self._progress:
            speed = self.images_per_second
            self._progress.update(
                step,
                [
                    {"student": k, "model": self._names[k], "images_per_second": speed, **measured}
                    for k, measured in sorted(self._newest.items())
                ],
            )

    def _shown(self, before: Sequence[str]) -> Progress:
        return Progress(
            self._plan.total_steps,
            self._plan.steps_per_epoch,
            chronometer=self._chronometer,
            learning_rate=partial(learning_rate, self._plan),
            asked=self._interruption.words,
            before=before,
        )

    def _complain(self, text: str) -> None:
        if self._progress:
            self._progress.notice(text)
        else:
            logging.getLogger(__name__).warning(text)

    def _close(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None
