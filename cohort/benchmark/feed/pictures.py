"""The files that the benchmark reads, and a network that takes next to no time to learn from them."""

import os
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn

DISTINCT = 500
"""Files; as many more names of them as are wanted take no space."""
GRAIN = 8
"""Pixels of a patch of colour: a file is then about as large as a photograph of its size."""
NOISE = 12
MEANS = 4


def make_folder(root: Path, images: int, classes: int, height: int, width: int) -> None:
    """``train/<class>/*.jpg``, ``images`` in all, and ``test`` with one of each class."""
    for label in range(classes):
        for split in ("train", "test"):
            (root / split / f"{label:03d}").mkdir(parents=True)
        _save(root / "test" / f"{label:03d}" / "0.jpg", label, height, width)
    made: list[Path] = []
    for number in range(min(images, DISTINCT)):
        made.append(root / "train" / f"{number % classes:03d}" / f"{number:06d}.jpg")
        _save(made[-1], number, height, width)
    for number, file in zip(range(DISTINCT, images), cycle(made), strict=False):
        os.link(file, file.with_name(f"{number:06d}.jpg"))


def _save(file: Path, seed: int, height: int, width: int) -> None:
    random = np.random.default_rng(seed)
    patches = random.integers(0, 256, (height // GRAIN + 1, width // GRAIN + 1, 3), np.uint8)
    smooth = Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC)
    noise = random.integers(-NOISE, NOISE + 1, (height, width, 3))
    pixels = np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", quality=90)


def tiny(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    """Linear in the mean colours of 4 x 4 parts."""
    inputs = image_shape[0] * MEANS * MEANS
    return nn.Sequential(nn.AdaptiveAvgPool2d(MEANS), nn.Flatten(), nn.Linear(inputs, num_classes))
