"""One's own pictures under --data-root: train/<class>/*, and test/<class>/* or val/<class>/*."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cohort.config import DataConfig, height_and_width
from cohort.data.dataset import Augmentation, ImageDataset, Split
from cohort.data.pictures.files import PictureFiles
from cohort.data.pictures.frame import Frame
from cohort.errors import ConfigError

DEFAULT_IMAGE_SIZE = 32


def read(config: DataConfig) -> ImageDataset:
    """All pictures as RGB, cropped to a centred rectangle of ``config.image_size`` (default 32)."""
    frame = Frame(*height_and_width(config.image_size or DEFAULT_IMAGE_SIZE))
    train_dir, test_dir = find_split(config, "train"), find_split(config, "test", "val")
    classes = find_classes(train_dir)
    check_same_classes(train_dir, classes, test_dir, find_classes(test_dir))
    padding = min(frame.height, frame.width) // 8
    return ImageDataset(
        name="folder",
        train=read_split(train_dir, classes, frame),
        test=read_split(test_dir, classes, frame),
        classes=tuple(classes),
        augmentation=Augmentation(padding=padding, padding_mode="reflect", flip=True),
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


def read_split(directory: Path, classes: Sequence[str], frame: Frame) -> Split:
    """The pictures of the split, by class and then by name."""
    samples = list_pictures(directory, classes)
    names = [os.path.relpath(path, directory) for path, _ in samples]
    labels = np.array([label for _, label in samples], dtype=np.int64)
    return Split(PictureFiles.of(directory, names, frame), labels)


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
