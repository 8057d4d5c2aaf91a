"""Pictures in files, decoded once for all who learn from them on one node, some batches ahead.

What is served is a function of (seed, step), as in ``BatchSource``: a feeder keeps nothing that
another one could not decode again.

Shapes: B batch, N pictures of a block, C channels, H and W height and width.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from torch import Tensor

from cohort.data.dataset import ImageDataset
from cohort.data.fed import Batch
from cohort.data.pictures.files import PictureFiles, Promise
from cohort.data.pictures.frame import Frame
from cohort.data.source import BatchSource
from cohort.errors import ConfigError, RunError

AHEAD = 4
"""Batches that are decoded, or being so, before anyone asks for them."""
SPREAD = 8
"""Steps by which the fastest may be ahead of the slowest without a batch being decoded twice."""
KEPT = SPREAD + 1 + AHEAD
"""Batches that are kept at most: B·C·H·W bytes each."""
BLOCKS = 6
"""Blocks of pictures to evaluate on that are kept at most: N·C·H·W bytes each."""
FINISHERS = 2
"""Threads in which decoded pictures are stacked and augmented."""

Value = TypeVar("Value")
Kept = TypeVar("Kept")


class Feeder(Generic[Kept]):
    """Decodes each batch, and each block to evaluate on, once for all who ask for it.

    It keeps ``KEPT`` batches at most, around the step that was asked for last, and ``BLOCKS``
    blocks, and decodes no more than ``AHEAD`` batches before they are asked for. Besides, it
    has what augmentation needs for ``FINISHERS`` of them. Several threads may ask at once.

    Args:
        source: whose whole batches, on the CPU, are served; ``decoders`` decode for it.
        total_steps: of the run: nothing is decoded ahead beyond them.
        decoders: who decodes; shut down by ``close``.
        keep: from a batch, or a block, to what is kept and served in its place.
    """

    def __init__(
        self,
        source: BatchSource,
        *,
        total_steps: int,
        decoders: ThreadPoolExecutor,
        keep: Callable[[Any], Kept],
    ) -> None:
        assert source.shard == (0, 1), "a feeder serves whole batches"
        self._source = source
        self._total_steps = total_steps
        self._decoders = decoders
        self._keep = keep
        self._finishers = ThreadPoolExecutor(FINISHERS, thread_name_prefix="feeder")
        self._batches: dict[int, Future[Kept]] = {}
        self._blocks: OrderedDict[tuple[str, Frame, bytes], Future[Kept]] = OrderedDict()
        self._lock = threading.Lock()

    def batch(self, step: int) -> "Future[Kept]":
        """The training batch of a step, and the next ones begun."""
        last = min(step + AHEAD, self._total_steps - 1)
        with self._lock:
            for number in range(step, max(step, last) + 1):
                if _is_missing(self._batches.get(number)):
                    begun = self._source.begin(number)
                    self._batches[number] = self._finishers.submit(self._finish, begun)
            asked = self._batches[step]
            self._forget(step)
        return asked

    def pictures(self, files: PictureFiles) -> "Future[Kept]":
        """A block of pictures as they are."""
        key = files.root, files.frame, files.names.tobytes()
        with self._lock:
            if _is_missing(self._blocks.get(key)):
                begun = files.begin(pool=self._decoders)
                self._blocks[key] = self._finishers.submit(self._stack, begun)
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
        for pool in (self._decoders, self._finishers):
            pool.shutdown(wait=False, cancel_futures=True)

    def _forget(self, step: int) -> None:
        """Drop what nobody who is near ``step`` asks for, and the oldest beyond ``KEPT``."""
        near = range(step - SPREAD, step + SPREAD + AHEAD + 1)
        kept = [number for number in sorted(self._batches) if number in near][-KEPT:]
        self._batches = {number: self._batches[number] for number in kept}

    def _finish(self, begun: Callable[[], tuple[Tensor, Tensor]]) -> Kept:
        images, labels = _readable(begun)
        batch = Batch(images.contiguous().numpy(), labels.numpy())
        for array in batch:
            array.setflags(write=False)
        return self._keep(batch)

    def _stack(self, begun: Promise) -> Kept:
        pixels = _readable(begun)
        pixels.setflags(write=False)
        return self._keep(pixels)


def _is_missing(kept: "Future[Any] | None") -> bool:
    """Whether it has to be begun: what failed is tried again."""
    return kept is None or (kept.done() and (kept.cancelled() or kept.exception() is not None))


def _readable(begun: Callable[[], Value]) -> Value:
    """Amid training it is the run that fails, not a flag that is wrong."""
    try:
        return begun()
    except ConfigError as error:
        raise RunError(str(error)) from error


def feeder_of(
    dataset: ImageDataset,
    *,
    batch_size: int,
    seed: int,
    total_steps: int,
    decoders: int,
    keep: Callable[[Any], Kept],
) -> Feeder[Kept]:
    """A feeder of a data set's training batches, with so many decoding threads."""
    pool = ThreadPoolExecutor(decoders, thread_name_prefix="decoder")
    source = BatchSource(
        dataset.train,
        batch_size=batch_size,
        seed=seed,
        augmentation=dataset.augmentation,
        device="cpu",
        decoders=pool,
    )
    return Feeder(source, total_steps=total_steps, decoders=pool, keep=keep)


def free_cores(busy: int, cores: float | None = None) -> int:
    """How many may decode where ``busy`` threads train; ``cores`` are this machine's by default."""
    return max(1, int(cores or os.cpu_count() or 1) - busy)
