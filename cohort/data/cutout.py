"""Cutout (DeVries & Taylor 2017, arXiv 1708.04552) of a whole batch at once.

B batch, C channels, H and W height and width.
"""

import torch
from torch import Tensor

from cohort.data.augment import Shard, rows_of
from cohort.data.transfer import to_device


def cut_out(
    images_BCHW: Tensor, side: int, generator: torch.Generator, shard: Shard = (0, 1)
) -> Tensor:
    """Each image with a black square of ``side`` pixels at a random place, clipped at the border.

    Images are uint8 on any device; numbers are drawn on the CPU, for the whole batch of which the
    images are a shard. The centre is uniform over the pixels; if ``side`` is even, one pixel more
    lies before it than after it, as in the authors' code.
    """
    B, _, H, W = images_BCHW.shape
    centres_2B = draw_centres(B * shard[1], H, W, generator)[:, rows_of(B, shard)]
    top_B, left_B = to_device(centres_2B - side // 2, images_BCHW.device)
    rows_BH, columns_BW = covered(top_B, side, H), covered(left_B, side, W)
    square_BHW = rows_BH[:, :, None] & columns_BW[:, None, :]
    return images_BCHW.masked_fill(square_BHW[:, None], 0)


def draw_centres(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Row and column of the centre of each square: int64 [2, count]."""
    rows_B = torch.randint(height, (count,), generator=generator)
    return torch.stack([rows_B, torch.randint(width, (count,), generator=generator)])


def covered(start_B: Tensor, side: int, size: int) -> Tensor:
    """Whether each of 0…size-1 is among the ``side`` pixels from ``start`` on, bool [B, size]."""
    offsets_BS = torch.arange(size, device=start_B.device) - start_B[:, None]
    return (offsets_BS >= 0) & (offsets_BS < side)


def check_side(side: int, height: int, width: int) -> None:
    """Raise ValueError for a square that would black out the whole image."""
    if side > min(height, width):
        raise ValueError(f"cutout is {side}; it must be at most the image size, {height} x {width}")
