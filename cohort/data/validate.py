"""Is this a data set a network can learn from? Asked of every one, above all of the user's own."""

from typing import NoReturn

import numpy as np

from cohort.data.augment import check_reflectable
from cohort.data.autoaugment import check_channels
from cohort.data.color_jitter import check_colours
from cohort.data.cutout import check_side
from cohort.data.dataset import DISTRACTOR, GALLERY, JUNK, MORE, QUERY, ImageDataset, Search, Split
from cohort.data.pictures.files import PictureFiles
from cohort.errors import ConfigError

PADDING_MODES = ("reflect", "zeros")


def validate(dataset: ImageDataset) -> None:
    """Raise ConfigError with the first thing that contradicts the types in ``dataset.py``."""
    if len(dataset.classes) < 2:
        wrong(dataset, f"has {len(dataset.classes)} classes; it must have at least 2")
    for which, split in dataset.splits.items():
        check_arrays(dataset, split, which)
        if which == "test" and isinstance(split, Search):
            check_search(dataset, split)
        else:
            check_labels(dataset, split, which)
        check_shape(dataset, split, which)
    check_statistics(dataset)
    check_augmentation(dataset)


def check_arrays(dataset: ImageDataset, split: Split, which: str) -> None:
    """Raise ConfigError unless a split's arrays have the types and shapes of ``Split``."""
    expected = (("images", np.uint8, 4, "[N, C, H, W]"), ("labels", np.int64, 1, "[N]"))
    for name, dtype, ndim, shape in expected:
        array = getattr(split, name)
        if isinstance(array, PictureFiles):
            continue
        if not isinstance(array, np.ndarray) or (array.dtype, array.ndim) != (dtype, ndim):
            found = f"{getattr(array, 'dtype', type(array).__name__)} {np.shape(array)}"
            wanted = f"a NumPy array {np.dtype(dtype)} {shape}"
            wrong(dataset, f"has {which}.{name} {found}; it must be {wanted}")
    if not len(split.images) == len(split.labels) > 0:
        counts = f"{len(split.images)} images and {len(split.labels)} labels"
        wrong(dataset, f"has {counts} in {which}; there must be as many of both, and at least one")


def check_labels(dataset: ImageDataset, split: Split, which: str) -> None:
    """Raise ConfigError unless every label is the index of a class name."""
    low, high, last = int(split.labels.min()), int(split.labels.max()), dataset.num_classes - 1
    if low < 0 or high > last:
        found = low if low < 0 else high
        wrong(dataset, f"has the label {found} in {which}; labels must lie in 0…{last}")


def check_search(dataset: ImageDataset, split: Search) -> None:
    """Raise ConfigError unless people can be looked for as ``Search`` has it."""
    for name, dtype in (("cameras", np.int64), ("roles", np.int8)):
        array = getattr(split, name)
        if not isinstance(array, np.ndarray) or (array.dtype, array.shape) != (
            dtype,
            split.labels.shape,
        ):
            found = f"{getattr(array, 'dtype', type(array).__name__)} {np.shape(array)}"
            wanted = f"a NumPy array {np.dtype(dtype)} {split.labels.shape}, as its labels"
            wrong(dataset, f"has test.{name} {found}; it must be {wanted}")
    for role, what in ((QUERY, "queries"), (GALLERY, "gallery images")):
        if not (split.roles == role).any():
            wrong(dataset, f"has no {what} in test; it must have at least one")
    if not np.isin(split.roles, (GALLERY, QUERY, MORE)).all():
        wrong(dataset, "has other roles in test than GALLERY, QUERY and MORE")
    lowest = int(split.labels.min())
    if lowest < JUNK:
        wrong(dataset, f"has the identity {lowest} in test; identities must be {JUNK} or more")
    if split.labels[split.roles != GALLERY].min() <= DISTRACTOR:
        wrong(dataset, "looks for nobody in test: a query's identity must be 1 or more")


def check_matches(dataset: ImageDataset, split: Search) -> None:
    """Raise ConfigError unless another camera saw the person of a query, in the gallery."""
    gallery, query = (split.part(split.roles == role) for role in (GALLERY, QUERY))
    if not any(
        ((gallery.labels == person) & (gallery.cameras != camera)).any()
        for person, camera in zip(query.labels, query.cameras, strict=True)
    ):
        wrong(
            dataset,
            "has nobody in test who is looked for and was seen by another camera; use a larger "
            "--test-subset, or look at its cameras",
        )


def check_shape(dataset: ImageDataset, split: Split, which: str) -> None:
    """Raise ConfigError unless a split's images are as large as those of train."""
    wanted, found = dataset.train.images.shape[1:], split.images.shape[1:]
    if found != wanted:
        wrong(dataset, f"has {which} images of shape {found}; they must be {wanted} as train")


def check_statistics(dataset: ImageDataset) -> None:
    """Raise ConfigError unless each channel has a finite mean and a positive standard deviation."""
    channels = dataset.image_shape[0]
    for name in ("mean", "std"):
        values = getattr(dataset, name)
        if len(values) != channels or not np.isfinite(values).all():
            wrong(dataset, f"has {name} {values}; it must be {channels} finite numbers")
    if min(dataset.std) <= 0:
        wrong(dataset, f"has std {dataset.std}; each must be greater than 0")


def check_augmentation(dataset: ImageDataset) -> None:
    """Raise ConfigError unless the images admit padding, cutout and AutoAugment as they are set."""
    augmentation, (channels, *size) = dataset.augmentation, dataset.image_shape
    if augmentation.padding_mode not in PADDING_MODES or augmentation.padding < 0:
        wrong(
            dataset, f"has {augmentation}; padding must be 0 or more, padding_mode reflect or zeros"
        )
    if augmentation.cutout < 0:
        wrong(dataset, f"has {augmentation}; cutout must be 0 or more")
    if not (0 <= augmentation.erasing < 1 and 0 <= augmentation.color_jitter < 1):
        wrong(dataset, f"has {augmentation}; erasing and color_jitter must be from 0 to below 1")
    try:
        if augmentation.padding_mode == "reflect":
            check_reflectable(augmentation.shift, *size)
        if augmentation.autoaugment:
            check_channels(channels)
        if augmentation.color_jitter:
            check_colours(channels)
        check_side(augmentation.cutout, *size)
    except ValueError as error:
        wrong(dataset, f"cannot be augmented: {error}")


def wrong(dataset: ImageDataset, what: str) -> NoReturn:
    """Raise ConfigError naming the data set."""
    raise ConfigError(f"--dataset {dataset.name} {what}")
