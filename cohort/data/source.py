"""The batch of a step, which every student can recompute from (seed, step) and nothing else."""

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cohort.data.augment import Shard, augment, rows_of
from cohort.data.autoaugment import auto_augment
from cohort.data.color_jitter import jitter
from cohort.data.cutout import cut_out
from cohort.data.dataset import Augmentation, Images, Split
from cohort.data.erasing import erase
from cohort.data.pictures.files import PictureFiles, Promise
from cohort.data.pictures.frame import DRAWS
from cohort.data.transfer import to_device
from cohort.errors import ConfigError
from cohort.seeding import derive_seed, generator


class Source(Protocol):
    """Where a learner's batches come from."""

    shard: Shard

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Augmented images float32 [B, C, H, W] in [0, 1] and labels int64 [B] of a step >= 0."""
        ...


class Newest:
    """A source for several who ask for the same steps: the newest batch is kept, and made once."""

    def __init__(self, source: Source) -> None:
        self.shard = source.shard
        self._source = source
        self._step = -1

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step, as the source gives it; nobody may write to it."""
        if step != self._step:
            self._batch = self._source.batch(step)
            self._step = step
        return self._batch


class BatchSource:
    """Training batches as a pure function of the step, reshuffled every epoch.

    Every batch is full. The N mod B images that an epoch leaves over differ from epoch to epoch,
    since the order does, so that none is left out on average. The split's images stay uint8 on
    ``device``, or in their files; with AutoAugment, which works on the CPU, they stay there.

    A ``shard`` (rank, size) sees only part number ``rank`` of each batch, with the pixels that it
    has in the whole: B·rank/size up to B·(rank+1)/size.

    ``decoders`` read pictures in files; by default threads of this process.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        seed: int,
        augmentation: Augmentation,
        device: torch.device | str,
        shard: Shard = (0, 1),
        decoders: Executor | None = None,
    ) -> None:
        assert batch_size % shard[1] == 0, f"{batch_size} images do not divide by {shard[1]}"
        if batch_size > len(split):
            raise ConfigError(
                f"--batch-size is {batch_size}; it must be at most {len(split)}, the number of "
                "training images"
            )
        self.batch_size = batch_size
        self.steps_per_epoch = len(split) // batch_size
        self._seed = seed
        self._augmentation = augmentation
        self._rows = rows_of(batch_size // shard[1], shard)
        self.shard = shard
        self._device = device
        self._decoders = decoders
        home = "cpu" if augmentation.autoaugment else device
        self._images: Tensor | PictureFiles = (
            split.images
            if isinstance(split.images, PictureFiles)
            else as_tensor(split.images).to(home)
        )
        self._labels = as_tensor(split.labels).to(home)
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Augmented images float32 [B, C, H, W] in [0, 1] and labels int64 [B] of a step >= 0.

        B is the batch size, divided by the number of shards.
        """
        images, labels = self.begin(step)()
        return to_float(to_device(images, self._device)), to_device(labels, self._device)

    def begin(self, step: int) -> Callable[[], tuple[Tensor, Tensor]]:
        """Start to read a batch; what comes back waits for it: images uint8, where they are kept."""
        assert step >= 0
        epoch, position = divmod(step, self.steps_per_epoch)
        start = position * self.batch_size
        chosen_B = self._order_of(epoch)[start : start + self.batch_size][self._rows]
        labels_B = self._labels[chosen_B]
        if isinstance(self._images, Tensor):
            images = self._images[chosen_B]
            return lambda: (self._augmented(images, step), labels_B)
        decoded = self._images[chosen_B.cpu().numpy()].begin(self._cuts(step), self._decoders)
        return lambda: (self._augmented(as_tensor(decoded()), step), labels_B)

    def _cuts(self, step: int) -> npt.NDArray[np.float64] | None:
        """What the shard's random cut-outs are drawn from, [B, DRAWS]; None if there are none."""
        if self._augmentation.crop != "resized":
            return None
        random = generator(self._seed, "cut", step)
        draws = torch.rand(self.batch_size, DRAWS, generator=random, dtype=torch.float64)
        return draws[self._rows].numpy()

    def _augmented(self, images: Tensor, step: int) -> Tensor:
        """The pipeline of self-distillation's authors; without options, of mutual learning's."""
        augmentation, seed = self._augmentation, self._seed
        images = augment(images, augmentation, generator(seed, "augment", step), self.shard)
        if augmentation.autoaugment:
            images = auto_augment(images, self._seeds("autoaugment", step))
        if augmentation.color_jitter:
            draws = generator(seed, "color", step)
            images = jitter(images, augmentation.color_jitter, draws, self.shard)
        if augmentation.cutout:
            draws = generator(seed, "cutout", step)
            images = cut_out(images, augmentation.cutout, draws, self.shard)
        if augmentation.erasing:
            images = erase(images, augmentation.erasing, self._seeds("erasing", step))
        return images

    def _seeds(self, purpose: str, step: int) -> list[int]:
        """One for each image of the shard, by its place in the whole batch."""
        places = range(self._rows.start, self._rows.stop)
        return [derive_seed(self._seed, purpose, step, place) for place in places]

    def _order_of(self, epoch: int) -> Tensor:
        """The epoch's permutation, int64 [N] beside the images; the latest one is kept."""
        if epoch != self._epoch:
            random = generator(self._seed, "order", epoch)
            order = torch.randperm(len(self._labels), generator=random)
            self._epoch, self._order = epoch, to_device(order, self._labels.device)
        return self._order


def whole(
    split: Split, device: torch.device | str, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The split in order and as it is, for evaluation: ([B, C, H, W], [B]) as in BatchSource.batch.

    The last batch holds what is left. Pictures in files are decoded a batch ahead.
    """
    parts = [slice(start, start + batch_size) for start in range(0, len(split), batch_size)]
    labels = as_tensor(split.labels)
    following = _begun(split.images[parts[0]]) if parts else None
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        assert following is not None
        decoded, following = following, None if after is None else _begun(split.images[after])
        yield to_float(as_tensor(decoded()).to(device)), labels[part].to(device)


def _begun(images: Images) -> Promise:
    return images.begin() if isinstance(images, PictureFiles) else lambda: images


def to_float(images: Tensor) -> Tensor:
    """uint8 0…255 as float32 0…1, on the images' device.

    A multiplication, because CUDA turns the division by a number into one by its reciprocal
    and would differ from the CPU in the last bit.
    """
    return images.float().mul_(1 / 255)


def as_tensor(array: npt.NDArray[Any]) -> Tensor:
    """A tensor on the array's own memory, never to be written to.

    Arrays from Ray's object store are read-only, of which torch warns; nothing here writes.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
