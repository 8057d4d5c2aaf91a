"""How fast a run trains and when it will be done, without counting what is not training."""

import contextlib
import time
from collections.abc import Callable, Iterator


class Chronometer:
    """Tells training time from paused time, and the speed of steps after the warm-up.

    The first steps are slow (memory is allocated, kernels are chosen) and would spoil the estimate.

    Args:
        warmup_steps: steps after the start that do not count towards the speed.
        clock: seconds that only go forward.
    """

    def __init__(self, warmup_steps: int = 5, clock: Callable[[], float] = time.monotonic) -> None:
        self._warmup_steps = warmup_steps
        self._clock = clock
        self.start()

    def start(self, step: int = 0) -> None:
        """Begin anew, at the step from which the run goes on."""
        self._started = self._clock()
        self._paused_seconds = 0.0
        self._pause_began: float | None = None
        self._warm_at = step + self._warmup_steps
        self._first_step = self._last_step = step
        self._last_seconds = 0.0
        self._counted_steps, self._counted_seconds = 0, 0.0

    def tick(self, step: int) -> None:
        """Take note that ``step`` steps are done; the same number twice changes nothing.

        A lower number is a run rolled back to a checkpoint: the steps between are trained, and
        counted, again.
        """
        if step == self._last_step:
            return
        now = self.training_seconds
        if step > self._last_step >= self._warm_at:
            self._counted_steps += step - self._last_step
            self._counted_seconds += now - self._last_seconds
        self._last_step, self._last_seconds = step, now

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside is not training: evaluation, checkpoints, recovery."""
        assert self._pause_began is None, "pauses do not nest"
        self._pause_began = self._clock()
        try:
            yield
        finally:
            self._paused_seconds += self._clock() - self._pause_began
            self._pause_began = None

    @property
    def elapsed(self) -> float:
        """Seconds since the start, pauses included."""
        return self._clock() - self._started

    @property
    def training_seconds(self) -> float:
        """Seconds since the start without pauses, warm-up included."""
        now = self._clock() if self._pause_began is None else self._pause_began
        return now - self._started - self._paused_seconds

    @property
    def steps_per_second(self) -> float | None:
        """Speed after the warm-up; of a run that has not come so far, of all its steps; else None."""
        if self._counted_seconds > 0:
            return self._counted_steps / self._counted_seconds
        done = self._last_step - self._first_step
        return done / self._last_seconds if done > 0 and self._last_seconds > 0 else None

    def eta(self, step: int, total: int) -> float | None:
        """Training seconds from a step to the last one; None until the speed was measured.

        That of the warm-up, which may be ten times slower, is good enough for what is no longer than it.
        """
        rest, speed = total - step, self.steps_per_second
        is_warm = self._counted_seconds > 0
        return rest / speed if speed and (is_warm or rest <= step - self._first_step) else None
