"""Random Erasing (Zhong et al., AAAI 2020, arXiv 1708.04896), example by example.

B batch, C channels, H and W height and width.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from cohort.data.transfer import to_device

AREA = (0.02, 0.4)
"""Smallest and largest rectangle, as parts of the picture."""
PROPORTIONS = (0.3, 1 / 0.3)
"""Height by width of rectangles, from and to."""
TRIES = 10
"""Rectangles that are tried until one is smaller than the picture; if none is, nothing is erased."""


def erase(images_BCHW: Tensor, probability: float, seeds: Sequence[int]) -> Tensor:
    """Each image, with some probability, with a random rectangle of it filled with noise.

    Images are uint8 [B, C, H, W] on any device; each draws from its own seed, on the CPU.
    """
    erased, (_, channels, *size) = images_BCHW.clone(), images_BCHW.shape
    for image, seed in zip(erased, seeds, strict=True):
        random = torch.Generator().manual_seed(seed)
        if torch.rand((), generator=random) >= probability:
            continue
        rows, columns = draw_rectangle(size[0], size[1], random)
        shape = (channels, rows.stop - rows.start, columns.stop - columns.start)
        noise = torch.randint(256, shape, generator=random, dtype=torch.uint8)
        image[:, rows, columns] = to_device(noise, image.device)
    return erased


def draw_rectangle(height: int, width: int, random: torch.Generator) -> tuple[slice, slice]:
    """Its rows and columns; none of either if nothing fits."""
    draws = torch.rand(TRIES, 4, generator=random, dtype=torch.float64).tolist()
    for area, shape, y, x in draws:
        pixels = height * width * _between(AREA, area)
        proportions = _between(PROPORTIONS, shape)
        down, across = (
            round(math.sqrt(pixels * proportions)),
            round(math.sqrt(pixels / proportions)),
        )
        if 0 < down < height and 0 < across < width:
            top, left = int(y * (height - down + 1)), int(x * (width - across + 1))
            return slice(top, top + down), slice(left, left + across)
    return slice(0, 0), slice(0, 0)


def _between(ends: tuple[float, float], number: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * number
