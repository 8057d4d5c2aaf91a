"""Is this a data set a network can learn from? Asked of every one, above all of the user's own."""

from typing import NoReturn

import numpy as np

from cohort.data.augment import check_reflectable
from cohort.data.autoaugment import check_channels
from cohort.data.cutout import check_side
from cohort.data.dataset import GALLERY, JUNK, MORE, QUERY, ImageDataset, Search, Split
from cohort.data.pictures.files import PictureFiles
from cohort.errors import ConfigError

PADDING_MODES = ("reflect", "zeros")


def validate(dataset: ImageDataset) -> None:
    """Raise ConfigError with the first thing that contradicts the types in ``dataset.py``."""
    if len(dataset.classes) < 2:
        wrong(dataset, f"has {len(dataset.classes)} classes; it must have at least 2")
    splits = {"train": dataset.train, "test": dataset.test, "validation": dataset.validation}
    for which, split in splits.items():
        if split is not None:
            check_arrays(dataset, split, which)
            if isinstance(split, Search) and which == "test":
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


def check_search(dataset: ImageDataset, search: Search) -> None:
    """Raise ConfigError unless somebody can be found again, and all arrays are as in ``Search``."""
    expected = (("labels", np.int64), ("cameras", np.int64), ("roles", np.int8))
    for name, dtype in expected:
        array = getattr(search, name)
        if not isinstance(array, np.ndarray) or (array.dtype, array.shape) != (
            dtype,
            (len(search),),
        ):
            found = f"{getattr(array, 'dtype', type(array).__name__)} {np.shape(array)}"
            wrong(
                dataset, f"has test.{name} {found}; it must be a NumPy array {np.dtype(dtype)} [N]"
            )
    if search.labels.min() < JUNK or not np.isin(search.roles, (GALLERY, QUERY, MORE)).all():
        wrong(dataset, "has identities below -1, or roles that are none of GALLERY, QUERY, MORE")
    if not has_match(search):
        wrong(
            dataset,
            "has no query in test whose person another camera saw; use a larger --test-subset, or "
            "look at cameras and roles",
        )


def has_match(search: Search) -> bool:
    """Whether another camera saw the person of any query, in the gallery."""
    gallery, query = search.part(search.roles == GALLERY), search.part(search.roles == QUERY)
    return any(
        ((gallery.labels == person) & (gallery.cameras != camera)).any()
        for person, camera in zip(query.labels, query.cameras, strict=True)
        if person > 0
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
    try:
        if augmentation.padding_mode == "reflect":
            check_reflectable(augmentation.padding, *size)
        if augmentation.autoaugment:
            check_channels(channels)
        check_side(augmentation.cutout, *size)
    except ValueError as error:
        wrong(dataset, f"cannot be augmented: {error}")


def wrong(dataset: ImageDataset, what: str) -> NoReturn:
    """Raise ConfigError naming the data set."""
    raise ConfigError(f"--dataset {dataset.name} {what}")
