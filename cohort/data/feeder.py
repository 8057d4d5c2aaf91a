"""Pictures in files, decoded once for all who learn from them on one node, some batches ahead.

What is served is a function of (seed, step), as in ``BatchSource``: a feeder keeps nothing that
could not be decoded again. It says what is decoded and when, and others decode: ``decoding`` has
the threads of this process. Imports no torch, for the sake of processes that do without.

Shapes: B batch, N pictures of a block, C channels, H and W height and width.
"""

import os
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from cohort.data.pictures.files import PictureFiles
from cohort.data.pictures.frame import Frame

AHEAD = 4
"""Batches that are decoded, or being so, before anyone asks for them; more if many decode."""
SPREAD = 8
"""Steps by which the fastest may be ahead of the slowest without a batch being decoded twice."""
BLOCKS = 6
"""Blocks of pictures to evaluate on that are kept at most: N·C·H·W bytes each."""

Kept = TypeVar("Kept")


class Decoding(Protocol[Kept]):
    """Who decodes for a feeder, and gives what it keeps: pictures, or a reference to them.

    One thread at a time asks.
    """

    def batch(self, step: int) -> "Future[Kept]":
        """Start with the training batch of a step."""
        ...

    def pictures(self, files: PictureFiles) -> "Future[Kept]":
        """Start with a block of pictures as they are."""
        ...

    def close(self) -> None:
        """Decode no more."""
        ...


class Feeder(Generic[Kept]):
    """Has each batch, and each block to evaluate on, decoded once for all who ask for it.

    It keeps ``kept_at_most(ahead)`` batches, around the step that was asked for last, and
    ``BLOCKS`` blocks. Several threads may ask at once.

    Args:
        decoding: who decodes; closed by ``close``.
        total_steps: of the run: nothing is decoded ahead beyond them.
        ahead: how many batches are decoded before they are asked for.
    """

    def __init__(self, decoding: Decoding[Kept], *, total_steps: int, ahead: int = AHEAD) -> None:
        self._decoding = decoding
        self._total_steps = total_steps
        self._ahead = ahead
        self._batches: dict[int, Future[Kept]] = {}
        self._blocks: OrderedDict[tuple[str, Frame, bytes], Future[Kept]] = OrderedDict()
        self._lock = threading.Lock()

    def batch(self, step: int) -> "Future[Kept]":
        """The training batch of a step, and the next ones begun."""
        last = min(step + self._ahead, self._total_steps - 1)
        with self._lock:
            for number in range(step, max(step, last) + 1):
                if _is_missing(self._batches.get(number)):
                    self._batches[number] = self._decoding.batch(number)
            asked = self._batches[step]
            self._forget(step)
        return asked

    def pictures(self, files: PictureFiles) -> "Future[Kept]":
        """A block of pictures as they are."""
        key = files.root, files.frame, files.names.tobytes()
        with self._lock:
            if _is_missing(self._blocks.get(key)):
                self._blocks[key] = self._decoding.pictures(files)
            self._blocks.move_to_end(key)
            while len(self._blocks) > BLOCKS:
                self._blocks.popitem(last=False)
            return self._blocks[key]

    def begun(self) -> "list[Future[Kept]]":
        """All batches and blocks that are kept, or are being decoded to be."""
        with self._lock:
            return [*self._batches.values(), *self._blocks.values()]

    def close(self) -> None:
        """Decode no more."""
        self._decoding.close()

    def _forget(self, step: int) -> None:
        """Drop what nobody who is near ``step`` asks for, and the oldest of what is too much."""
        near = range(step - SPREAD, step + SPREAD + self._ahead + 1)
        kept = [number for number in sorted(self._batches) if number in near]
        kept = kept[-kept_at_most(self._ahead) :]
        self._batches = {number: self._batches[number] for number in kept}


def kept_at_most(ahead: int = AHEAD) -> int:
    """Batches that a feeder keeps: B·C·H·W bytes each."""
    return SPREAD + 1 + ahead


def _is_missing(kept: "Future[Any] | None") -> bool:
    """Whether it has to be begun: what failed is tried again."""
    return kept is None or (kept.done() and (kept.cancelled() or kept.exception() is not None))


def free_cores(busy: int, cores: float | None = None) -> int:
    """How many may decode where ``busy`` threads train; ``cores`` are this machine's by default."""
    return max(1, int(cores or os.cpu_count() or 1) - busy)
