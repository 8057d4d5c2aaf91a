"""Threads of this process that decode for a feeder.

Shapes: B batch, N pictures of a block, C channels, H and W height and width.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from torch import Tensor

from cohort.data.dataset import ImageDataset
from cohort.data.fed import Batch
from cohort.data.feeder import Feeder
from cohort.data.pictures.files import PictureFiles, Promise
from cohort.data.pictures.viewer import BrokenPictureError
from cohort.data.source import BatchSource
from cohort.errors import RunError

FINISHERS = 2
"""Threads in which decoded pictures are stacked and augmented."""

Value = TypeVar("Value")
Kept = TypeVar("Kept")


class DecodingThreads(Generic[Kept]):
    """A ``Decoding`` of a data set, in ``decoders`` threads of this process.

    Besides, it has what augmentation needs for ``FINISHERS`` batches.

    Args:
        dataset: whose whole training batches are decoded.
        batch_size: of the run.
        seed: of the run.
        decoders: how many threads decode.
        keep: from a batch, or a block, to what is given in its place.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        *,
        batch_size: int,
        seed: int,
        decoders: int,
        keep: Callable[[Any], Kept],
    ) -> None:
        self._decoders = ThreadPoolExecutor(decoders, thread_name_prefix="decoder")
        self._finishers = ThreadPoolExecutor(FINISHERS, thread_name_prefix="feeder")
        self._keep = keep
        self._source = BatchSource(
            dataset.train,
            batch_size=batch_size,
            seed=seed,
            augmentation=dataset.augmentation,
            device="cpu",
            decoders=self._decoders,
        )

    def batch(self, step: int) -> "Future[Kept]":
        """Start with the training batch of a step."""
        return self._finishers.submit(self._finish, self._source.begin(step))

    def pictures(self, files: PictureFiles) -> "Future[Kept]":
        """Start with a block of pictures as they are."""
        return self._finishers.submit(self._stack, files.begin(pool=self._decoders))

    def close(self) -> None:
        """Decode no more."""
        for pool in (self._decoders, self._finishers):
            pool.shutdown(wait=False, cancel_futures=True)

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


def _readable(begun: Callable[[], Value]) -> Value:
    """Amid training it is the run that fails, not a flag that is wrong."""
    try:
        return begun()
    except BrokenPictureError as error:
        raise RunError(error.amid_training) from error


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
    threads = DecodingThreads(
        dataset, batch_size=batch_size, seed=seed, decoders=decoders, keep=keep
    )
    return Feeder(threads, total_steps=total_steps)
