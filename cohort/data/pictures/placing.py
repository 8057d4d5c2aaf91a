"""Whether pictures in files are decoded into memory at the start, or batch after batch."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from cohort.config import DataConfig, Feed
from cohort.data.dataset import ImageDataset
from cohort.data.pictures.broken import Broken, find_broken, look_at, settle
from cohort.data.pictures.files import PictureFiles, Pixels
from cohort.data.pictures.viewer import read_picture
from cohort.errors import ConfigError
from cohort.machine import gib, memory

PART = 4
"""A split that would take more than this part of memory stays in its files."""
MOST_PIXELS = 89_478_485
"""As Pillow has it, which takes a picture with more for an attack."""


def placed(dataset: ImageDataset, config: DataConfig) -> ImageDataset:
    """The data set with each split in memory, or in files if it stays there or was never elsewhere.

    All files are tried. Raises ConfigError for those that are broken, unless they are to be skipped,
    and for splits that do not fit into memory.
    """
    files = {
        which: split.images
        for which, split in dataset.splits.items()
        if isinstance(split.images, PictureFiles)
    }
    _check_size(config, files.values())
    homes = {which: _home(which, images, dataset, config) for which, images in files.items()}
    _check_fits([files[which] for which, home in homes.items() if home == "memory"], config)
    if config.decoders is not None and "node" not in homes.values():
        raise ConfigError(
            f"--decoders is {config.decoders}, but the pictures are decoded into memory at the start, by "
            "all cores; add --feed node, or leave it out"
        )
    broken: dict[str, Broken] = {}
    decoded: dict[str, Any] = {}
    for which, images in files.items():
        if homes[which] == "memory":
            pixels, broken[which] = decoded_all(images)
            decoded[which] = replace(getattr(dataset, which), images=pixels)
        else:
            broken[which] = look_at(images, whole=config.skip_broken)
    return settle(replace(dataset, **decoded), broken, skip=config.skip_broken)


def decoded_all(images: PictureFiles) -> tuple[Pixels, Broken]:
    """uint8 [N, C, H, W], decoded on all cores, and what is wrong with those that cannot be."""
    pixels = np.zeros(images.shape, np.uint8)

    def decode(row: int) -> None:
        pixels[row] = read_picture(images.path(row), images.frame).transpose(2, 0, 1)

    return pixels, find_broken(len(images), decode)


def check_made_up(config: DataConfig, count: int, height: int, width: int) -> None:
    """Raise ConfigError for RGB pictures, made in memory, that would be too large for it."""
    _check_pixels(config, height, width)
    size, there = count * 3 * height * width, memory()
    if size > there:
        raise ConfigError(
            f"--image-size is {config.image_size}, of which {count} pictures would take {gib(size)}, and "
            f"this machine has {gib(there)} of memory; take a smaller one"
        )


def _home(which: str, images: PictureFiles, dataset: ImageDataset, config: DataConfig) -> Feed:
    if config.feed is not None:
        return config.feed
    anew = (config.crop or dataset.augmentation.crop) == "resized"
    small = _bytes(images) <= memory() / PART
    return "memory" if small and not (anew and which == "train") else "node"


def _check_fits(splits: list[PictureFiles], config: DataConfig) -> None:
    size, there = sum(map(_bytes, splits)), memory()
    if size > there:
        raise ConfigError(
            f"--feed is {config.feed}, but the pictures would take {gib(size)} and this "
            f"machine has {gib(there)} of memory; use --feed node, or a smaller --image-size"
        )


def _check_size(config: DataConfig, splits: Iterable[PictureFiles]) -> None:
    """Raise ConfigError for a picture that is larger than any that would be read."""
    for images in splits:
        _check_pixels(config, *images.shape[2:])


def _check_pixels(config: DataConfig, height: int, width: int) -> None:
    if height * width > MOST_PIXELS:
        raise ConfigError(
            f"--image-size is {config.image_size}; a picture of {height} x {width} has more than "
            f"{MOST_PIXELS} pixels, the most that are read of a file; take a smaller one"
        )


def _bytes(images: PictureFiles) -> int:
    return int(np.prod(images.shape, dtype=np.int64))
