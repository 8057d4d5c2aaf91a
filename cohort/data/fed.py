"""A learner's batches and a split's pictures, where a feeder decodes them.

Shapes: B batch, N pictures of a block, C channels, H and W height and width.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cohort.data.augment import Shard, rows_of
from cohort.data.dataset import ImageDataset, Images, Split
from cohort.data.pictures.files import PictureFiles, Pixels, Promise
from cohort.data.source import BatchSource, Source, as_tensor, to_float
from cohort.data.transfer import to_device

ValueOf = TypeVar("ValueOf", covariant=True)


class Batch(NamedTuple):
    """A training batch as all of a node see it; nobody writes to it."""

    images: Pixels
    """Augmented, uint8 [B, C, H, W]."""
    labels: npt.NDArray[np.int64]
    """[B]."""


class Awaited(Protocol[ValueOf]):
    """What will be there; a ``Future`` is one."""

    def result(self) -> ValueOf:
        """Wait for it. Raises RunError, naming the file, if a picture cannot be read."""
        ...


class Feed(Protocol):
    """A feeder as those see it who learn from it: in their process, or beside it on their node."""

    def batch(self, step: int) -> Awaited[Batch]:
        """The training batch of a step, which is begun if it was not."""
        ...

    def pictures(self, files: PictureFiles) -> Awaited[Pixels]:
        """A block of pictures as they are, uint8 [N, C, H, W]."""
        ...


class FedSource:
    """One learner's part of the batches that a feed has; asks for the next before it is needed.

    What it gives is what ``BatchSource`` gives for the same ``shard``, on ``device``.
    """

    def __init__(
        self, feed: Feed, *, total_steps: int, device: torch.device | str, shard: Shard = (0, 1)
    ) -> None:
        self._feed = feed
        self._total_steps = total_steps
        self._device = device
        self.shard = shard
        self._asked: dict[int, Awaited[Batch]] = {}

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Augmented images float32 [B, C, H, W] in [0, 1] and labels int64 [B] of a step >= 0."""
        soon = range(step, max(step, min(step + 1, self._total_steps - 1)) + 1)
        self._asked = {s: self._asked.get(s) or self._feed.batch(s) for s in soon}
        images, labels = self._asked.pop(step).result()
        mine = rows_of(len(labels) // self.shard[1], self.shard)
        # Copies, so that the batch's memory is free as soon as the feeder is done with it.
        pixels = to_float(to_device(as_tensor(images[mine]), self._device))
        return pixels, to_device(as_tensor(labels[mine]).clone(), self._device)


@dataclass(frozen=True)
class FedPictures(PictureFiles):
    """Pictures that a feed decodes: each block once for all who ask for it."""

    feed: Feed

    @property
    def plain(self) -> PictureFiles:
        """The same files, which whoever asks for them decodes."""
        return PictureFiles(**_own_fields(self))

    def begin(self, cuts: Any = None, pool: Any = None) -> Promise:
        """Start to decode all of them; what is cut out at random stays the caller's to decode."""
        if cuts is not None:
            return super().begin(cuts, pool)
        return self.feed.pictures(self.plain).result


def in_files(dataset: ImageDataset) -> bool:
    """Whether pictures of the data set have to be decoded during the run."""
    return any(isinstance(split.images, PictureFiles) for split in dataset.splits.values())


def with_feed(dataset: ImageDataset, feed: Feed) -> ImageDataset:
    """The data set whose pictures in files come through a feed; those in memory as they are."""

    def fed(split: Split) -> Split:
        return replace(split, images=through(feed, split.images))

    fed_splits: dict[str, Any] = {name: fed(split) for name, split in dataset.splits.items()}
    return replace(dataset, **fed_splits)


def through(feed: Feed | None, images: Images) -> Images:
    """Images that come through a feed if they are in files; None: each who asks decodes them."""
    if not isinstance(images, PictureFiles):
        return images
    own = _own_fields(images)
    return PictureFiles(**own) if feed is None else FedPictures(**own, feed=feed)


def _own_fields(files: PictureFiles) -> dict[str, Any]:
    return {field.name: getattr(files, field.name) for field in fields(PictureFiles)}


def source_of(
    dataset: ImageDataset,
    *,
    batch_size: int,
    seed: int,
    total_steps: int,
    device: torch.device | str,
    shard: Shard,
) -> Source:
    """The training batches of a data set: from its feed if it has one."""
    if isinstance(dataset.train.images, FedPictures):
        feed = dataset.train.images.feed
        return FedSource(feed, total_steps=total_steps, device=device, shard=shard)
    return BatchSource(
        dataset.train,
        batch_size=batch_size,
        seed=seed,
        augmentation=dataset.augmentation,
        device=device,
        shard=shard,
    )
