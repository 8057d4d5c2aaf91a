"""What a dataset is to a student: images, labels, and how pixels are normalised."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from cohort.data.pictures.files import PictureFiles

Images = npt.NDArray[np.uint8] | PictureFiles
"""uint8 [N, C, H, W]: in memory, or in files until they are asked for."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What happens to training images, in this order, drawn per example."""

    crop: Literal["shift", "resized", "none"] = "shift"
    """shift by up to ``padding`` pixels; a resized random part of a picture in a file; or none."""
    padding: int = 0
    """Pixels by which an image may shift in each direction; 0 leaves it in place."""
    padding_mode: str = "reflect"
    """What fills the uncovered border: ``reflect`` or ``zeros``."""
    flip: bool = False
    """Mirror left to right with probability one half."""
    autoaugment: bool = False
    """Apply AutoAugment's policy for CIFAR-10; images must have 1 or 3 channels."""
    color_jitter: float = 0.0
    """Brightness, contrast and saturation each changed by a factor within 1 ± this; 0 for none."""
    cutout: int = 0
    """Side of the black square put at a random place; 0 for none."""
    erasing: float = 0.0
    """Probability that a random rectangle is filled with noise (Random Erasing)."""

    @property
    def shift(self) -> int:
        """Pixels by which an image may shift in each direction."""
        return self.padding if self.crop == "shift" else 0


@dataclass(frozen=True)
class Split:
    """One split of a dataset.

    ``images`` are uint8 [N, C, H, W], ``labels`` int64 [N]. NumPy rather than torch, because
    arrays in Ray's object store are read by every student of a node without a copy.
    """

    images: Images
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: slice | npt.NDArray[Any]) -> Self:
        """Some examples: those of a slice, which is not copied, of a mask [N], or of indices."""
        return replace(self, **{each.name: getattr(self, each.name)[rows] for each in fields(self)})


@dataclass(frozen=True)
class Search(Split):
    """Pictures of people to be found again, and those among whom they are looked for.

    ``labels`` are identities, none of which is trained on: 0 for distractors, -1 for junk.
    """

    cameras: npt.NDArray[np.int64]
    """Number of the camera that took each, [N]."""
    roles: npt.NDArray[np.int8]
    """What each is here, [N]: ``GALLERY``, ``QUERY``, or ``MORE`` of a query's person and camera."""


GALLERY, QUERY, MORE = range(3)
DISTRACTOR, JUNK = 0, -1


@dataclass(frozen=True, kw_only=True)
class ImageDataset:
    """A dataset to learn classes from; its test split may be a ``Search`` for what is alike."""

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...] = ()
    """Mean of each channel over the training split, for pixels in [0, 1]; to be measured if empty."""
    std: tuple[float, ...] = ()
    """Standard deviation of each channel over the training split; to be measured if empty."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    validation: Split | None = None
    """Images that are neither trained nor tested on, if any are held out."""
    notes: tuple[str, ...] = ()
    """What a user should know of the files that were read, a sentence each."""
    skipped: tuple[str, ...] = ()
    """Pictures that could not be read and were left out, which the user asked for."""

    @property
    def splits(self) -> dict[str, Split]:
        """Those there are, by the names of their fields."""
        splits = {"train": self.train, "test": self.test}
        return splits if self.validation is None else {**splits, "validation": self.validation}

    def in_order_of(self, classes: tuple[str, ...]) -> Self:
        """The same images, labelled by the places of their classes in ``classes``: its own, reordered.

        Identities of a ``Search`` are no classes, and stay.
        """
        place = {name: label for label, name in enumerate(classes)}
        assert place.keys() == set(self.classes), "other classes, not another order"
        new_C = np.array([place[name] for name in self.classes], np.int64)
        relabelled: dict[str, Any] = {
            which: split
            if isinstance(split, Search)
            else replace(split, labels=new_C[split.labels])
            for which, split in self.splits.items()
        }
        return self if classes == self.classes else replace(self, classes=classes, **relabelled)

    @property
    def num_classes(self) -> int:
        """How many classes a network for this dataset tells apart."""
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width
