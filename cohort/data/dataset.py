"""What a dataset is to a student: images in memory, labels, and how pixels are normalised."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What happens to training images, in this order, drawn per example."""

    padding: int = 0
    """Pixels by which an image may shift in each direction; 0 leaves it in place."""
    padding_mode: str = "reflect"
    """What fills the uncovered border: ``reflect`` or ``zeros``."""
    flip: bool = False
    """Mirror left to right with probability one half."""
    autoaugment: bool = False
    """Apply AutoAugment's policy for CIFAR-10; images must have 1 or 3 channels."""
    cutout: int = 0
    """Side of the black square put at a random place; 0 for none."""


@dataclass(frozen=True)
class Split:
    """One split of a dataset.

    ``images`` are uint8 [N, C, H, W], ``labels`` int64 [N]. NumPy rather than torch, because
    arrays in Ray's object store are read by every student of a node without a copy.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: slice | npt.NDArray[Any]) -> "Split":
        """Some examples: those of a slice, which is not copied, of a mask [N], or of indices."""
        return Split(self.images[rows], self.labels[rows])


@dataclass(frozen=True, kw_only=True)
class ImageDataset:
    """A classification dataset that lives in memory."""

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    """Mean of each channel over the training split, for pixels in [0, 1]."""
    std: tuple[float, ...]
    """Standard deviation of each channel over the training split, for pixels in [0, 1]."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    validation: Split | None = None
    """Images that are neither trained nor tested on, if any are held out."""

    @property
    def num_classes(self) -> int:
        """How many classes a network for this dataset tells apart."""
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width
