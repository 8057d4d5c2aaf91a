"""Whether pictures in files are decoded into memory at the start, or batch after batch."""

import os
from dataclasses import replace

import numpy as np

from cohort.config import DataConfig
from cohort.data.dataset import ImageDataset, Split
from cohort.data.pictures.files import PictureFiles, pixels_of

CHUNK = 512  # pictures that are on their way from a file to their place in memory
PART = 4
"""A data set that would take more than this part of memory stays in its files."""


def fed(dataset: ImageDataset, config: DataConfig) -> ImageDataset:
    """The data set in memory, or as it is if it stays in its files or was never there."""
    splits = [dataset.train, dataset.test, *([dataset.validation] if dataset.validation else [])]
    if not any(isinstance(split.images, PictureFiles) for split in splits):
        return dataset
    size = sum(int(np.prod(split.images.shape)) for split in splits)
    anew = (config.crop or dataset.augmentation.crop) == "resized"
    by_itself = "node" if anew or size > _memory() / PART else "memory"
    if (config.feed or by_itself) == "node":
        return dataset
    validation = None if dataset.validation is None else in_memory(dataset.validation)
    return replace(
        dataset, train=in_memory(dataset.train), test=in_memory(dataset.test), validation=validation
    )


def in_memory(split: Split) -> Split:
    """The split with its pictures decoded, on all cores."""
    if not isinstance(split.images, PictureFiles):
        return split
    pixels = np.empty(split.images.shape, np.uint8)
    for start in range(0, len(split), CHUNK):
        part = slice(start, start + CHUNK)
        pixels[part] = pixels_of(split.images[part])
    return replace(split, images=pixels)


def _memory() -> int:
    """Bytes of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
