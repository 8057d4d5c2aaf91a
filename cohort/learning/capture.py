"""A step that is captured once and replayed: the same kernels on the same memory at every step.

Before a replay, what the step is given is copied to where the captured step reads it, learning rates
are set, and the random generator is seeded; afterwards its measurements are copied away. Batches are
made outside, a step ahead.

Shapes: S students of the host, B batch, C classes.
"""

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cohort.errors import RunError
from cohort.learning.ahead import Ahead
from cohort.learning.kept import Kept
from cohort.learning.learner import Given, Learned, Learner, Prediction
from cohort.learning.lesson import Lesson
from cohort.learning.recorder import CannotCaptureError, Recorder
from cohort.objectives.peer_sum import Peer, in_places, tensors_of
from cohort.seeding import derive_seed, seed_global

PREDICT, LEARN, LEARN_IN_TURN = "predict", "learn", "learn in turn"
"""The pieces of a step with other hosts."""

Lane = Callable[..., AbstractContextManager[None]]
Replay = Callable[[], tuple[Any, Sequence[Learned | None]]]


class Part:
    """What of a student's step is captured: a ``Pupil`` that reads what it is given from one place."""

    def __init__(self, learner: Learner, lane: Lane, given: Callable[[], Given]) -> None:
        self._learner = learner
        self._lane = lane
        self._given = given
        self._prediction: Prediction | None = None
        self.learned: Learned | None = None

    def predict(self, step: int) -> Tensor:
        """Forward, beside the other students."""
        with self._lane():
            self._prediction = self._learner.look(self._given())
        return self._prediction.posterior_BC

    def learn(self, step: int, peers: Sequence[Peer] = ()) -> None:
        """Backward and update, after what the peers have shown."""
        prediction, self._prediction = self._prediction, None
        assert prediction is not None, "learn without a prediction"
        with self._lane(after_all=True):
            self.learned = self._learner.improve(prediction, peers)

    def repredict(self, step: int) -> Tensor:
        """Forward after the update."""
        with self._lane():
            return self._learner.look_again(self._given())


class CapturedLesson:
    """A ``Lesson`` of learners that is captured when it is first given, and replayed from then on.

    Students whose peers are all here are captured in one piece; with other hosts it is two, up to the
    posteriors and from the peers' on, between which the graph of autograd lives.

    Args:
        learners: who share batches.
        recorder: captures on their device.
    """

    def __init__(self, learners: Sequence[Learner], recorder: Recorder) -> None:
        self._learners = learners
        self._recorder = recorder
        self._plan = learners[0].plan
        self._device = learners[0].device
        recorder.forget()
        self._ahead = Ahead(
            learners[0].given, total_steps=self._plan.total_steps, device=self._device
        )
        self._held: dict[Hashable, tuple[Tensor, ...]] = {}
        self._replays: dict[Hashable, Replay] = {}
        self._given: Given | None = None
        self._parts = self._new_parts()
        self._lesson = Lesson(self._parts)

    def predict(self, step: int) -> Tensor:
        """Every student's log-posterior on the batch of ``step``, [S, B, C], overwritten by the next."""
        self._take(step)
        shown, _ = self._play(PREDICT, step, partial(self._lesson.predict, step), "predict")
        self._ahead.prepare(step + 1)
        posteriors_SBC: Tensor = shown
        return posteriors_SBC

    def learn(self, step: int, before: Sequence[Peer] = (), after: Sequence[Peer] = ()) -> None:
        """As ``Lesson.learn``."""
        self._answer(LEARN, step, self._lesson.learn, before, after)

    def learn_in_turn(
        self, step: int, before: Sequence[Peer] = (), after: Sequence[Peer] = ()
    ) -> Tensor:
        """As ``Lesson.learn_in_turn``."""
        newest_SBC: Tensor = self._answer(
            LEARN_IN_TURN, step, self._lesson.learn_in_turn, before, after, "repredict"
        )
        return newest_SBC

    def advance(self, step: int, sequential: bool = False) -> None:
        """As ``Lesson.advance``, in one piece."""
        self._take(step)
        work = partial(self._lesson.advance, step, sequential)
        _, learned = self._play(("advance", sequential), step, work, "predict")
        self._ahead.prepare(step + 1)
        self._note(step, learned)

    def _answer(
        self,
        name: str,
        step: int,
        learn: Callable[..., Any],
        before: Sequence[Peer],
        after: Sequence[Peer],
        purpose: str | None = None,
    ) -> Any:
        """The second piece, which reads the posteriors of other hosts' students from one place."""
        shown = self._hold_peers(name, [*before, *after])
        work = partial(learn, step, shown[: len(before)], shown[len(before) :])
        try:
            newest, learned = self._play(name, step, work, purpose)
        except CannotCaptureError as error:  # in which half of the step there is no way back
            raise RunError(
                f"the step cannot be captured, because {error}; use --capture off"
            ) from error
        self._note(step, learned)
        return newest

    def _take(self, step: int) -> None:
        """Copy what a step is given to where the captured step reads it."""
        given = self._ahead.take(step)
        tensors = self._hold(("given", given.drawn.way), given.tensors)
        self._given = given.of_tensors(tensors)

    def _hold(self, name: Hashable, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Tensors, copied to the place on the device that those of this name have."""
        if name not in self._held:
            self._held[name] = tuple(torch.empty_like(t, device=self._device) for t in tensors)
        for place, tensor in zip(self._held[name], tensors, strict=True):
            place.copy_(tensor, non_blocking=True)
        return self._held[name]

    def _hold_peers(self, name: Hashable, peers: Sequence[Peer]) -> list[Peer]:
        """The same of peers, each of them or their sums."""
        return in_places(peers, self._hold(name, tensors_of(peers)))

    def _play(
        self, name: Hashable, step: int, work: Callable[[], Any], purpose: str | None
    ) -> tuple[Any, Sequence[Learned | None]]:
        """Replay what is captured under a name, and capture it first if it is not."""
        assert self._given is not None
        for learner in self._learners:
            learner.begin(step)
        key = self._given.drawn.way, name
        if key not in self._replays:
            self._replays[key] = self._captured(name, work)
        if purpose is not None:
            # One generator draws for all who are captured together.
            students = [learner.student for learner in self._learners]
            seed_global(self._device, derive_seed(self._plan.seed, purpose, *students, step))
        return self._replays[key]()

    def _captured(self, name: Hashable, work: Callable[[], Any]) -> Replay:
        """Students are as they were afterwards: what trying out has changed is put back."""
        piece = partial(self._piece, work, self._parts)
        if name in (LEARN, LEARN_IN_TURN):  # tried out with the first half, which waits for it now
            return self._recorder.record(piece)
        kept = Kept(self._learners)
        try:
            # Whether the other half learns in turn is not known yet: all that it may do is tried out.
            self._recorder.try_out(self._rehearsal(in_turn=name in (PREDICT, ("advance", True))))
            kept.put_back()
            return self._recorder.record(piece)
        except CannotCaptureError:
            kept.put_back()
            raise

    def _piece(
        self, work: Callable[[], Any], parts: Sequence[Part]
    ) -> tuple[Any, Sequence[Learned | None]]:
        self._recorder.begin()
        result = work()
        return result, [part.learned for part in parts]

    def _rehearsal(self, in_turn: bool) -> Callable[[], None]:
        """A step as all students take it, with peers, which a student alone here has elsewhere."""
        parts = self._new_parts()
        lesson = Lesson(parts)

        def work() -> None:
            shown, _ = self._piece(partial(lesson.predict, 0), parts)
            learn = lesson.learn_in_turn if in_turn else lesson.learn
            self._piece(partial(learn, 0, (), tuple(shown)), parts)

        return work

    def _new_parts(self) -> list[Part]:
        def given() -> Given:
            assert self._given is not None
            return self._given

        lanes = [partial(self._recorder.lane, k) for k in range(len(self._learners))]
        return [Part(*of_one, given) for of_one in zip(self._learners, lanes, strict=True)]

    def _note(self, step: int, learned: Sequence[Learned | None]) -> None:
        for learner, of_one in zip(self._learners, learned, strict=True):
            assert of_one is not None
            learner.note(step, of_one)
