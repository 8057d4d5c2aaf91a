"""Tiny-ImageNet-200: 64x64 pictures of 200 classes, as its archive unpacks under --data-root.

``train/<wnid>/images/*.JPEG``, ``val/images/*.JPEG`` and ``val/val_annotations.txt``. Classes are named
by their WordNet ids, in alphabetical order, as torchvision's folders of ImageNet are.
"""

from pathlib import Path

import numpy as np

from cohort.config import DataConfig, height_and_width
from cohort.data.dataset import Augmentation, ImageDataset, Split
from cohort.data.pictures.files import PictureFiles
from cohort.data.pictures.frame import Frame
from cohort.data.pictures.listing import counts_note, find_classes, list_pictures
from cohort.errors import ConfigError

HOME = "tiny-imagenet-200"
DEFAULT_IMAGE_SIZE = 64
PADDING = 4
PUBLISHED = {"training images": 100_000, "test images": 10_000, "classes": 200}


def read(config: DataConfig) -> ImageDataset:
    """Its training and validation pictures; the latter are tested on, for the test has no labels."""
    home = find_home(config)
    frame = Frame(*height_and_width(config.image_size or DEFAULT_IMAGE_SIZE))
    classes = find_classes(home / "train")
    train = list_pictures(home / "train", classes)
    test = read_val(home / "val", classes, frame)
    counts = (len(train.names), len(test), len(classes))
    found = dict(zip(PUBLISHED, counts, strict=True))
    padding = min(PADDING, min(frame.height, frame.width) // 8)
    return ImageDataset(
        name="tiny-imagenet",
        train=train.split(frame),
        test=test,
        classes=tuple(classes),
        augmentation=Augmentation(padding=padding, padding_mode="reflect", flip=True),
        notes=counts_note("Tiny-ImageNet", found, PUBLISHED),
    )


def find_home(config: DataConfig) -> Path:
    """The folder of the archive in --data-root, or that itself."""
    root = Path(config.data_root)
    for home in (root / HOME, root):
        if (home / "train").is_dir() and (home / "val" / "val_annotations.txt").is_file():
            return home
    raise ConfigError(
        f"--data-root {root} does not hold tiny-imagenet: neither {root / HOME} nor itself has train/ "
        f"and val/val_annotations.txt; unpack {HOME}.zip there"
    )


def read_val(directory: Path, classes: list[str], frame: Frame) -> Split:
    """The pictures that val_annotations.txt lists, in its order."""
    file, indices = directory / "val_annotations.txt", {name: k for k, name in enumerate(classes)}
    names, labels = [], []
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        name, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0]
        if wnid not in indices:
            raise ConfigError(
                f"{file}: line {number} is {line!r}; it must name a picture and a class of train/, "
                "with a tab between them"
            )
        names.append(f"images/{name}")
        labels.append(indices[wnid])
    return Split(PictureFiles.of(directory, names, frame), np.array(labels, np.int64))
