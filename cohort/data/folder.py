"""One's own pictures under --data-root: train/<class>/*, and test/<class>/* or val/<class>/*."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cohort.config import DataConfig
from cohort.data.dataset import Augmentation, ImageDataset, Split
from cohort.data.statistics import channel_statistics
from cohort.errors import ConfigError

DEFAULT_IMAGE_SIZE = 32


def read(config: DataConfig) -> ImageDataset:
    """All pictures as RGB, cropped to a centred square of ``config.image_size`` (default 32)."""
    size = config.image_size or DEFAULT_IMAGE_SIZE
    train_dir, test_dir = find_split(config, "train"), find_split(config, "test", "val")
    classes = find_classes(train_dir)
    check_same_classes(train_dir, classes, test_dir, find_classes(test_dir))
    train, test = read_split(train_dir, classes, size), read_split(test_dir, classes, size)
    mean, std = channel_statistics(train.images)
    return ImageDataset(
        name="folder",
        train=train,
        test=test,
        classes=tuple(classes),
        mean=mean,
        std=std,
        augmentation=Augmentation(padding=size // 8, padding_mode="reflect", flip=True),
    )


def find_split(config: DataConfig, *names: str) -> Path:
    """The first of ``names`` that is a directory under --data-root."""
    for name in names:
        if (directory := Path(config.data_root) / name).is_dir():
            return directory
    raise ConfigError(
        f"--data-root {config.data_root} has no directory {'/ or '.join(names)}/; --dataset folder "
        f"needs {names[0]}/<class>/<picture>"
    )


def find_classes(directory: Path) -> list[str]:
    """Names of the class directories, sorted."""
    from torchvision.datasets import folder

    try:
        names: list[str] = folder.find_classes(directory)[0]
    except FileNotFoundError as error:
        raise ConfigError(
            f"{directory} holds no class directories; --dataset folder needs one per class"
        ) from error
    return names


def check_same_classes(
    train_dir: Path, train_classes: list[str], test_dir: Path, test_classes: list[str]
) -> None:
    """Raise ConfigError unless both splits have the same classes, whose places in the list are labels."""
    for name in train_classes:
        if name not in test_classes:
            raise ConfigError(f"{train_dir} has the class {name!r}, which {test_dir} lacks")
    for name in test_classes:
        if name not in train_classes:
            raise ConfigError(f"{test_dir} has the class {name!r}, which {train_dir} lacks")


def read_split(directory: Path, classes: Sequence[str], size: int) -> Split:
    """Decode every picture of the split, on all cores: PIL works outside Python's lock."""
    samples = list_pictures(directory, classes)
    images = np.empty((len(samples), 3, size, size), dtype=np.uint8)
    with ThreadPoolExecutor() as pool:
        decoded = pool.map(lambda sample: decode(sample[0], size), samples)
        for image, pixels_HWC in zip(images, decoded, strict=True):
            image[:] = pixels_HWC.transpose(2, 0, 1)
    return Split(images, np.array([label for _, label in samples], dtype=np.int64))


def list_pictures(directory: Path, classes: Sequence[str]) -> list[tuple[str, int]]:
    """(path, label) of every picture, by class and then by name."""
    from torchvision.datasets import folder

    indices = {name: index for index, name in enumerate(classes)}
    try:
        samples: list[tuple[str, int]] = folder.make_dataset(
            directory, indices, folder.IMG_EXTENSIONS
        )
    except FileNotFoundError as error:
        raise ConfigError(
            f"{directory}: {str(error).strip().rstrip('.').replace('. ', '; ')}"
        ) from error
    return samples


def decode(path: str, size: int) -> npt.NDArray[np.uint8]:
    """One picture, its short side resized to ``size`` and the rest cropped: uint8 [H, W, RGB]."""
    from PIL import Image, ImageOps
    from torchvision.datasets.folder import pil_loader

    try:
        picture = pil_loader(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ConfigError(f"{path} cannot be read as a picture: {error}") from error
    return np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR))
