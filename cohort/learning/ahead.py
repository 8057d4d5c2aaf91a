"""What a step is given, made while a GPU is still busy with the step before."""

from collections.abc import Callable

import torch

from cohort.learning.learner import Given


class Ahead:
    """Makes what steps are given; on a GPU on a stream of its own, beside the one that learns.

    Args:
        make: from a step to what it is given: a function of the step.
        total_steps: after which none is made ahead.
        device: where it is made.
    """

    def __init__(
        self, make: Callable[[int], Given], *, total_steps: int, device: torch.device
    ) -> None:
        self._make = make
        self._total_steps = total_steps
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            # What a stream before this one has made, and ``make`` still has, is there from now on.
            torch.cuda.synchronize(device)
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._made: tuple[int, Given, torch.cuda.Event | None] | None = None

    def prepare(self, step: int) -> None:
        """Make what ``step`` is given, if the run has such a step; nothing is waited for."""
        if step < self._total_steps:
            self._made = self._begin(step)

    def take(self, step: int) -> Given:
        """What ``step`` is given, for the current stream; made now if it was not made ahead."""
        made = self._made if self._made and self._made[0] == step else self._begin(step)
        self._made = None
        _, given, done = made
        if done is not None:
            here = torch.cuda.current_stream()
            here.wait_event(done)
            for tensor in given.tensors:  # whose memory is the other stream's to give away
                tensor.record_stream(here)
        return given

    def _begin(self, step: int) -> tuple[int, Given, torch.cuda.Event | None]:
        if self._stream is None:
            return step, self._make(step), None
        with torch.cuda.stream(self._stream):
            given = self._make(step)
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record()
        return step, given, done
