"""Ten made-up classes of blurry colour patterns: any image size, no download, quickly learned.

Integers only, from NumPy's PCG64, so that every machine makes the same pictures.
"""

import numpy as np
import numpy.typing as npt

from cohort.config import DataConfig, height_and_width
from cohort.data.dataset import Augmentation, ImageDataset, Split
from cohort.data.pictures.placing import check_made_up
from cohort.data.statistics import channel_statistics
from cohort.errors import ConfigError

CLASSES = 10
CHANNELS = 3
TRAIN_SIZE, TEST_SIZE = 2000, 500
DEFAULT_IMAGE_SIZE = 32
PATCHES = 4  # a template is this many patches of colour wide and high
NOISE = 64  # of 255, added or subtracted at most: hides a patch's edge, not its colour
SEED = 20180618  # part of the data set: runs with different seeds learn the same pictures


def read(config: DataConfig) -> ImageDataset:
    """2000 training and 500 test images of ``config.image_size`` (default 32), three channels."""
    size, width = height_and_width(config.image_size or DEFAULT_IMAGE_SIZE)
    if width != size:
        raise ConfigError(
            f"--image-size is {config.image_size}; synthetic pictures are square, so it must be N"
        )
    check_made_up(config, TRAIN_SIZE + TEST_SIZE, size, size)
    rng = np.random.Generator(np.random.PCG64(SEED))
    templates = make_templates(rng, size)
    train, test = (make_split(rng, templates, count) for count in (TRAIN_SIZE, TEST_SIZE))
    mean, std = channel_statistics(train.images)
    return ImageDataset(
        name="synthetic",
        train=train,
        test=test,
        classes=tuple(f"pattern {label}" for label in range(CLASSES)),
        mean=mean,
        std=std,
        augmentation=Augmentation(padding=size // 8, padding_mode="reflect"),
    )


def make_templates(rng: np.random.Generator, size: int) -> npt.NDArray[np.int16]:
    """One random pattern of coarse patches per class: int16 [classes, channels, size, size]."""
    patches = rng.integers(0, 256, (CLASSES, CHANNELS, PATCHES, PATCHES), dtype=np.int16)
    nearest = np.arange(size) * PATCHES // size
    return patches[:, :, nearest[:, None], nearest]


def make_split(rng: np.random.Generator, templates: npt.NDArray[np.int16], count: int) -> Split:
    """``count`` images, each class equally often: template, rolled by up to 1/4, plus noise."""
    labels = rng.permutation(np.arange(count, dtype=np.int64) % CLASSES)
    size = templates.shape[-1]
    images = np.empty((count, CHANNELS, size, size), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        rolled = np.roll(templates[label], rng.integers(-(size // 4), size // 4 + 1, 2), (1, 2))
        noise = rng.integers(-NOISE, NOISE + 1, rolled.shape, dtype=np.int16)
        image[:] = np.clip(rolled + noise, 0, 255)
    return Split(images, labels)
