"""The lesson of the learners in this process: captured where it can be, else as it is."""

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import Tensor

from cohort.errors import RunError
from cohort.learning.capture import CapturedLesson
from cohort.learning.cuda_graphs import CudaRecorder
from cohort.learning.learner import Learner
from cohort.learning.lesson import Lesson
from cohort.learning.recorder import CannotCaptureError, Recorder
from cohort.learning.stopwatch import LEARN, PREDICT, Stopwatch
from cohort.objectives.peer_sum import Peer

Result = TypeVar("Result")


class Lessons:
    """A ``Lesson`` that is captured if there is a recorder, until it turns out that it cannot be.

    Args:
        learners: who share batches.
        recorder: captures on their device; None: nothing is captured.
        must: raise RunError where it cannot be captured; by default students go on without, which
            ``notices`` say.
        stopwatch: told of both halves of a step, unless it is captured in one piece.
    """

    def __init__(
        self,
        learners: Sequence[Learner],
        recorder: Recorder | None = None,
        *,
        must: bool = False,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self._stopwatch = stopwatch or Stopwatch()
        self._recorder = recorder
        self._must = must
        self._notices: list[str] = []
        self.renew(learners)

    def renew(self, learners: Sequence[Learner]) -> None:
        """Go on with these learners, whose tensors may be others than before."""
        self._plain = Lesson(learners)
        recorder = self._recorder if learners else None
        self._captured = None if recorder is None else CapturedLesson(learners, recorder)

    def predict(self, step: int) -> Tensor:
        """As ``Lesson.predict``; what comes back may be overwritten at the next step."""
        with self._stopwatch.part(PREDICT):
            return self._do(lambda lesson: lesson.predict(step))

    def learn(self, step: int, before: Sequence[Peer] = (), after: Sequence[Peer] = ()) -> None:
        """As ``Lesson.learn``."""
        with self._stopwatch.part(LEARN):
            self._do(lambda lesson: lesson.learn(step, before, after))

    def learn_in_turn(
        self, step: int, before: Sequence[Peer] = (), after: Sequence[Peer] = ()
    ) -> Tensor:
        """As ``Lesson.learn_in_turn``."""
        with self._stopwatch.part(LEARN):
            return self._do(lambda lesson: lesson.learn_in_turn(step, before, after))

    def advance(self, step: int, sequential: bool = False) -> None:
        """As ``Lesson.advance``."""
        if self._captured is not None:
            self._do(lambda lesson: lesson.advance(step, sequential))
            return
        self.predict(step)
        if sequential:
            self.learn_in_turn(step)
        else:
            self.learn(step)

    def notices(self) -> list[str]:
        """Sentences for the user that came up since the last call."""
        notices, self._notices = self._notices, []
        return notices

    def _do(self, work: Callable[[Lesson | CapturedLesson], Result]) -> Result:
        if self._captured is not None:
            try:
                return work(self._captured)
            except CannotCaptureError as error:
                self._give_up(error)
            gc.collect()  # what was tried out has graphs of autograd that remember other streams
        return work(self._plain)

    def _give_up(self, error: CannotCaptureError) -> None:
        if self._must:
            raise RunError(
                f"--capture is on, but the step cannot be captured, because {error}; use --capture auto"
            ) from error
        self._recorder = self._captured = None
        self._notices.append(f"students train without a CUDA graph, because {error}")


def lessons_for(
    learners: Sequence[Learner], *, workers: int = 1, stopwatch: Stopwatch | None = None
) -> Lessons:
    """The lesson of learners on one device, as their plan wants it captured.

    Only a GPU's is, and none of several workers, who wait for each other within a step.
    """
    plan, device = learners[0].plan, learners[0].device
    if device.type != "cuda" or plan.capture == "off" or workers > 1:
        return Lessons(learners, stopwatch=stopwatch)
    recorder, must = CudaRecorder(device), plan.capture == "on"
    return Lessons(learners, recorder, must=must, stopwatch=stopwatch)
