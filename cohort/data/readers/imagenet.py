"""ImageNet (ILSVRC 2012): train/<wnid>/* and val/<wnid>/* under --data-root, or its archives there.

Classes are named by their WordNet ids, as their folders are.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from cohort.config import DataConfig, height_and_width
from cohort.data.dataset import Augmentation, ImageDataset
from cohort.data.pictures.frame import Frame
from cohort.data.pictures.listing import counts_note, find_classes, list_pictures
from cohort.data.readers.folder import check_same_classes, find_split
from cohort.errors import ConfigError

DEFAULT_IMAGE_SIZE = 224
PART = 224 / 256
"""Of a picture's middle that is tested on: all networks of ImageNet are, at whatever size."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""As published with torchvision's networks."""
PUBLISHED = {"training images": 1_281_167, "test images": 50_000, "classes": 1000}


def read(config: DataConfig) -> ImageDataset:
    """Its training and validation pictures; the latter are tested on, for the test has no labels."""
    unpack(Path(config.data_root))
    frame = Frame(*height_and_width(config.image_size or DEFAULT_IMAGE_SIZE), part=PART)
    train_dir, test_dir = find_split(config, "train"), find_split(config, "val")
    classes = find_classes(train_dir)
    check_same_classes(train_dir, classes, test_dir, find_classes(test_dir))
    train, test = list_pictures(train_dir, classes), list_pictures(test_dir, classes)
    counts = (len(train.names), len(test.names), len(classes))
    found = dict(zip(PUBLISHED, counts, strict=True))
    return ImageDataset(
        name="imagenet",
        train=train.split(frame),
        test=test.split(frame),
        classes=tuple(classes),
        mean=MEAN,
        std=STD,
        augmentation=Augmentation(
            crop="resized", padding=min(frame.height, frame.width) // 8, flip=True
        ),
        notes=(*train.notes, *test.notes, *counts_note("ImageNet", found, PUBLISHED)),
    )


def unpack(root: Path) -> None:
    """Unpack, by torchvision, the archives that lie in ``root`` and were not unpacked yet.

    Raises ConfigError for one that is damaged, or cannot be unpacked without another.
    """
    if all((root / part).exists() for part in ("train", "val")):
        return
    from torchvision.datasets import imagenet

    def packed(part: str) -> bool:
        name, _ = imagenet.ARCHIVE_META[part]
        return not (root / part).exists() and (root / name).is_file()

    try:
        if packed("train"):
            _whole_or_not_at_all(root, "train", imagenet.parse_train_archive)
        if packed("val"):
            if not (root / imagenet.META_FILE).is_file():
                imagenet.parse_devkit_archive(root)
            _whole_or_not_at_all(root, "val", imagenet.parse_val_archive)
    except (OSError, RuntimeError, EOFError) as error:
        raise ConfigError(
            f"--data-root {root} has archives of ImageNet, which cannot be unpacked: "
            f"{' '.join(str(error).split()).rstrip('.')}"
        ) from error


def _whole_or_not_at_all(root: Path, part: str, parse: Callable[..., None]) -> None:
    """Unpack into another folder first: of a half one nobody would see that it is none."""
    partial = root / f"{part}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    parse(root, folder=partial.name)
    os.rename(partial, root / part)
