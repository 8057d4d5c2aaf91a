"""One's own pictures under --data-root: train/<class>/*, and test/<class>/* or val/<class>/*."""

from pathlib import Path

from cohort.config import DataConfig, height_and_width
from cohort.data.dataset import Augmentation, ImageDataset
from cohort.data.pictures.frame import Frame
from cohort.data.pictures.listing import find_classes, list_pictures
from cohort.errors import ConfigError

DEFAULT_IMAGE_SIZE = 32


def read(config: DataConfig) -> ImageDataset:
    """All pictures as RGB, cropped to a centred rectangle of ``config.image_size`` (default 32)."""
    frame = Frame(*height_and_width(config.image_size or DEFAULT_IMAGE_SIZE))
    train_dir, test_dir = find_split(config, "train"), find_split(config, "test", "val")
    classes = find_classes(train_dir)
    check_same_classes(train_dir, classes, test_dir, find_classes(test_dir))
    train, test = list_pictures(train_dir, classes), list_pictures(test_dir, classes)
    padding = min(frame.height, frame.width) // 8
    return ImageDataset(
        name="folder",
        train=train.split(frame),
        test=test.split(frame),
        classes=tuple(classes),
        augmentation=Augmentation(padding=padding, padding_mode="reflect", flip=True),
        notes=train.notes + test.notes,
    )


def find_split(config: DataConfig, *names: str) -> Path:
    """The first of ``names`` that is a directory under --data-root."""
    for name in names:
        if (directory := Path(config.data_root) / name).is_dir():
            return directory
    raise ConfigError(
        f"--data-root {config.data_root} has no directory {'/ or '.join(names)}/; --dataset "
        f"{config.dataset} needs {names[0]}/<class>/<picture>"
    )


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
