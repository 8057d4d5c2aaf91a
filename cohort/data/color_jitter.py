"""Brightness, contrast and saturation of a whole batch changed at random, equal on every device.

B batch, C channels, H and W height and width. Whole numbers only: a factor is so many 65536ths.
"""

import torch
from torch import Tensor

from cohort.data.augment import Shard, rows_of
from cohort.data.transfer import to_device

CHANNELS = (1, 3)
"""Grey, which has no saturation, and RGB."""
ONE = 1 << 16
RED, GREEN, BLUE = 19595, 38470, 7471
"""How bright they are, of ``ONE``, as in ITU-R 601 and in Pillow."""


def jitter(
    images_BCHW: Tensor, strength: float, generator: torch.Generator, shard: Shard = (0, 1)
) -> Tensor:
    """Each image made brighter, then richer in contrast, then in colour, or less so.

    By factors that are uniform within 1 ± ``strength``. Images are uint8 [B, C, H, W] on any device;
    numbers are drawn on the CPU, for the whole batch of which the images are a shard. Contrast is
    the distance from the image's mean grey, saturation each pixel's from its own.
    """
    B = len(images_BCHW)
    factors_3B = draw_factors(B * shard[1], strength, generator)[:, rows_of(B, shard)]
    factors_3B = to_device(factors_3B, images_BCHW.device)
    brightness, contrast, saturation = factors_3B[..., None, None, None]
    values = images_BCHW.int()
    values = moved(values, torch.zeros_like(values[:1]), brightness)
    values = moved(values, mean_grey(values), contrast)
    if values.shape[1] == 3:
        values = moved(values, grey(values), saturation)
    return values.byte()


def draw_factors(count: int, strength: float, generator: torch.Generator) -> Tensor:
    """Of brightness, contrast and saturation, in 65536ths: int32 [3, count]."""
    draws = torch.rand(3, count, generator=generator, dtype=torch.float64)
    return ((1 + strength * (2 * draws - 1)) * ONE).round().int()


def moved(values: Tensor, origin: Tensor, factor: Tensor) -> Tensor:
    """0…255 moved away from ``origin``, or towards it: int32, rounded, and within 0…255 again."""
    return (origin + ((values - origin) * factor + ONE // 2 >> 16)).clamp_(0, 255)


def grey(values: Tensor) -> Tensor:
    """How bright each pixel is: int32 [B, 1, H, W] in 0…255."""
    if values.shape[1] == 1:
        return values
    red, green, blue = (values[:, k : k + 1] for k in range(3))
    return RED * red + GREEN * green + BLUE * blue + ONE // 2 >> 16


def mean_grey(values: Tensor) -> Tensor:
    """How bright each image is: int32 [B, 1, 1, 1], rounded."""
    pixels = values.shape[2] * values.shape[3]
    total = grey(values).sum((1, 2, 3), keepdim=True)  # int64
    return ((total + pixels // 2) // pixels).int()


def check_colours(channels: int) -> None:
    """Raise ValueError for pictures that are neither grey nor RGB."""
    if channels not in CHANNELS:
        raise ValueError(
            f"colour jitter takes images of 1 or 3 channels, and these have {channels}"
        )
