"""CIFAR-10 and CIFAR-100, read by torchvision; the augmentation is that of the DML paper."""

from pathlib import Path
from typing import Any

import numpy as np

from cohort.config import DataConfig
from cohort.data.dataset import Augmentation, ImageDataset, Split
from cohort.data.statistics import channel_statistics
from cohort.errors import ConfigError


def read(config: DataConfig) -> ImageDataset:
    """The data set that ``config.dataset`` names, cifar10 or cifar100: 50 000 + 10 000 images."""
    from torchvision import datasets

    reader = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[str(config.dataset)]
    if config.download:
        download(reader, config.data_root)
    train, classes = read_split(reader, config, train=True)
    test, _ = read_split(reader, config, train=False)
    mean, std = channel_statistics(train.images)
    return ImageDataset(
        name=str(config.dataset),
        train=train,
        test=test,
        classes=classes,
        mean=mean,
        std=std,
        augmentation=Augmentation(padding=4, padding_mode="reflect", flip=True),
    )


def read_split(reader: Any, config: DataConfig, train: bool) -> tuple[Split, tuple[str, ...]]:
    """One split and the class names, by torchvision's ``reader`` class."""
    try:
        part = reader(config.data_root, train=train)
    except RuntimeError as error:  # torchvision knows that a file is bad, but not which
        raise ConfigError(what_is_wrong(reader, config)) from error
    # Back to the order on disk, NCHW: a view that is contiguous, so nothing is copied.
    images = np.ascontiguousarray(part.data.transpose(0, 3, 1, 2))
    return Split(images, np.array(part.targets, dtype=np.int64)), tuple(part.classes)


def download(reader: Any, root: str) -> None:
    """Fetch and unpack the archive into ``root``, unless the files are already there and whole."""
    try:
        reader(root, train=False, download=True)
    except (OSError, RuntimeError, EOFError) as error:
        raise ConfigError(
            f"--download could not fetch {reader.url} to {root} ({error or type(error).__name__}); "
            f"without a network, unpack {reader.filename} into --data-root by hand"
        ) from error


def what_is_wrong(reader: Any, config: DataConfig) -> str:
    """One sentence that names the file which is missing or damaged."""
    from torchvision.datasets.utils import check_integrity

    folder = Path(config.data_root) / reader.base_folder
    listed = [*reader.train_list, *reader.test_list, (reader.meta["filename"], reader.meta["md5"])]
    missing = [name for name, _ in listed if not (folder / name).is_file()]
    if missing:
        return (
            f"--data-root {config.data_root} does not hold {config.dataset}: {folder / missing[0]} "
            f"is missing; pass --download, or unpack {reader.filename} there"
        )
    damaged = [folder / name for name, md5 in listed if not check_integrity(folder / name, md5)]
    return (
        f"{', '.join(map(str, damaged)) or folder} is damaged: its MD5 is not that of "
        f"{config.dataset}; pass --download to fetch it again"
    )
