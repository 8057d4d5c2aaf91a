"""CUDA graphs: a step of all students of a GPU, launched as one, a stream for each student.

Launched kernel by kernel, a small network's step takes as long as Python needs to launch it, five
times what the GPU needs to compute it, and students one after another K times that.
"""

import gc
import random
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cohort.imports import one_line
from cohort.learning.recorder import CannotCaptureError, Result

WARM_UPS = 3
"""Times that work is done before it is captured: libraries choose their algorithms at the first."""


class CudaRecorder:
    """A ``Recorder`` of CUDA graphs, which share memory, for they are never replayed at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._lanes: dict[int, torch.cuda.Stream] = {}
        self._shown: dict[int, torch.cuda.Event] = {}
        self._start = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.forget()

    def forget(self) -> None:
        """Graphs that are recorded from now on share no memory with those from before."""
        self._pool = torch.cuda.graph_pool_handle()

    def begin(self) -> None:
        """Students wait for what was done so far on the current stream, and for no other student."""
        self._start = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._start.record()
        self._shown = {}

    @contextmanager
    def lane(self, student: int, *, after_all: bool = False) -> Iterator[None]:
        """Inside, the current stream is the student's, which the outer one waits for afterwards."""
        here = torch.cuda.current_stream()
        lane = self._lane_of(student)
        lane.wait_event(self._start)
        if after_all:
            for shown in self._shown.values():
                lane.wait_event(shown)
        with torch.cuda.stream(lane):
            yield
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record()
        if not after_all:
            self._shown[student] = done
        here.wait_event(done)

    def try_out(self, work: Callable[[], object]) -> None:
        """Do the work on the stream that captures, the last time refusing what cannot be captured.

        Then capture it once in vain: what that finds is found while nothing is lost.
        """
        gc.collect()  # an old graph of autograd would remember the streams that it was made on
        with torch.random.fork_rng(devices=[self._device]):
            try:
                self._warm_up(work)
            except Exception as error:
                raise CannotCaptureError(reason(error)) from error
            finally:
                torch.cuda.synchronize(self._device)
            self._capture(work, torch.cuda.graph_pool_handle())

    def record(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """Capture the work, which is not done; its result is there once it is replayed."""
        graph, result = self._capture(work, self._pool)

        def replay() -> Result:
            graph.replay()
            return result

        return replay

    def _capture(
        self, work: Callable[[], Result], pool: Any
    ) -> tuple[torch.cuda.CUDAGraph, Result]:
        graph, here = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        first: Exception | None = None
        try:
            # What other threads do, such as NCCL's, is none of the capture's business.
            with torch.cuda.graph(
                graph, pool=pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                try:
                    result = work()
                except Exception as error:
                    first = error  # because of which the capture cannot be ended: a second one
                    raise
        except Exception as error:
            torch.cuda.set_stream(here)  # torch leaves the one that captured
            self._repair(pool)
            raise CannotCaptureError(reason(first or error)) from error
        return graph, result

    def _lane_of(self, student: int) -> torch.cuda.Stream:
        if student not in self._lanes:
            self._lanes[student] = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        return self._lanes[student]

    def _warm_up(self, work: Callable[[], object]) -> None:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UPS - 1):
                work()
            with refusing_to_wait():
                drawn = draws_on_the_cpu(work)
        torch.cuda.current_stream().wait_stream(self._stream)
        if drawn:
            raise CannotCaptureError(
                "it draws random numbers on the CPU, which would be the same ones at every step"
            )

    def _repair(self, pool: Any) -> None:
        """A capture that fails leaves torch's allocator and generator waiting for its end.

        The allocator keeps its pool, and would not give away again what several streams have used;
        the generator waits until a capture succeeds.
        """
        torch.cuda.synchronize(self._device)
        with torch.cuda.device(self._device), suppress(RuntimeError):  # raised if it has ended
            index = torch.cuda.current_device()
            torch._C._cuda_endAllocateToPool(index, pool)
            torch._C._cuda_releasePool(index, pool)
        self.forget()
        with torch.cuda.graph(
            torch.cuda.CUDAGraph(), stream=self._stream, capture_error_mode="thread_local"
        ):
            torch.zeros(1, device=self._device)


@contextmanager
def refusing_to_wait() -> Iterator[None]:
    """Inside, what waits for the GPU raises an error that names it."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        # It says that it does not find everything: the capture that follows does.
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def draws_on_the_cpu(work: Callable[[], object]) -> bool:
    """Do some work; whether it took random numbers from torch's CPU generator, Python or NumPy."""

    def states() -> tuple[bytes, object, bytes, int]:
        numpy: Any = np.random.get_state(legacy=False)
        key, position = numpy["state"]["key"], numpy["state"]["pos"]
        return torch.get_rng_state().numpy().tobytes(), random.getstate(), key.tobytes(), position

    before = states()
    work()
    return states() != before


def reason(error: Exception) -> str:
    """Why something failed, and where in code that is not torch's; to stand behind "because"."""
    if isinstance(error, CannotCaptureError):
        return str(error)
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(torch.__file__).parent not in Path(frame.filename).parents
    ]
    place = f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
    return f"{one_line(error)}{place}"
