"""Random crops and flips of a batch, equal on every device.

B batch, C channels, H and W height and width.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cohort.data.dataset import Augmentation
from cohort.data.transfer import to_device

Shard = tuple[int, int]
"""(rank, size): part number ``rank`` of a batch that is divided into ``size`` equal parts."""


def augment(
    images_BCHW: Tensor,
    augmentation: Augmentation,
    generator: torch.Generator,
    shard: Shard = (0, 1),
) -> Tensor:
    """Each image padded, cropped at a random place to its old size, then perhaps mirrored.

    Images are uint8 [B, C, H, W] on any device, and so is the result. The random numbers come from
    ``generator``, on the CPU, so a GPU sees the same ones; they are drawn for the whole batch of
    which the images are a shard.
    """
    B, _, H, W = images_BCHW.shape
    if augmentation.padding_mode == "reflect":
        check_reflectable(augmentation.shift, H, W)
    moves_3B = draw(B * shard[1], augmentation, generator)[:, rows_of(B, shard)]
    move = one_by_one if images_BCHW.device.type == "cpu" else all_at_once
    return move(images_BCHW, augmentation, moves_3B)


def one_by_one(images_BCHW: Tensor, augmentation: Augmentation, moves_3B: Tensor) -> Tensor:
    """The three steps as they are, on the CPU, where copies of rows cost a fraction of look-ups."""
    padding, (_, _, H, W) = augmentation.shift, images_BCHW.shape
    mode: Any = "constant" if augmentation.padding_mode == "zeros" else "reflect"
    around = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = np.pad(images_BCHW.numpy(), around, mode) if padding else images_BCHW.numpy()
    moved = np.empty(images_BCHW.shape, np.uint8)
    for image, result, (top, left, mirror) in zip(padded, moved, moves_3B.T.tolist(), strict=True):
        crop = image[:, padding + top :, padding + left :][:, :H, :W]
        result[...] = crop[:, :, ::-1] if mirror else crop
    return torch.from_numpy(moved)


def all_at_once(images_BCHW: Tensor, augmentation: Augmentation, moves_3B: Tensor) -> Tensor:
    """The same on any device, in a few operations for the whole batch.

    Padding is not carried out: an output pixel looks up the input pixel that the three steps would
    have brought there.
    """
    padding, (_, _, H, W) = augmentation.shift, images_BCHW.shape
    top_B, left_B, mirror_B = to_device(moves_3B, images_BCHW.device)
    across_W = torch.arange(W, device=images_BCHW.device)
    columns_BW = torch.where(mirror_B[:, None] == 1, across_W.flip(0), across_W) + left_B[:, None]
    rows_BH = torch.arange(H, device=images_BCHW.device) + top_B[:, None]
    if augmentation.padding_mode == "zeros":
        images_BCHW = F.pad(images_BCHW, (padding,) * 4)
        rows_BH, columns_BW = rows_BH + padding, columns_BW + padding
    else:
        rows_BH, columns_BW = reflect(rows_BH, H), reflect(columns_BW, W)
    return gather(images_BCHW, rows_BH, columns_BW)


def draw(count: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Vertical shift, horizontal shift, and 0 or 1 for the flip, per example: int64 [3, count]."""
    padding = augmentation.shift
    shifts = torch.randint(-padding, padding + 1, (2, count), generator=generator)
    flips = torch.randint(0, 1 + augmentation.flip, (1, count), generator=generator)
    return torch.cat([shifts, flips])


def rows_of(count: int, shard: Shard) -> slice:
    """The rows of the whole batch that are a shard's ``count`` examples."""
    rank, _ = shard
    return slice(rank * count, (rank + 1) * count)


def reflect(index: Tensor, size: int) -> Tensor:
    """Indices outside 0…size-1 mirrored at the border pixel, which is not repeated."""
    return (size - 1) - ((size - 1) - index.abs()).abs()


def gather(images_BCHW: Tensor, rows_BH: Tensor, columns_BW: Tensor) -> Tensor:
    """Pixel (rows[b, i], columns[b, j]) of image b at (i, j) of the result, for every b, i, j."""
    B, C, _, width = images_BCHW.shape
    pixels_BP = (rows_BH[:, :, None] * width + columns_BW[:, None, :]).flatten(1)
    index_BCP = pixels_BP[:, None].expand(B, C, -1)
    flat = images_BCHW.flatten(2).gather(2, index_BCP)
    return flat.view(B, C, rows_BH.shape[1], columns_BW.shape[1])


def check_reflectable(padding: int, height: int, width: int) -> None:
    """Raise ValueError if a mirror image, which lacks the border, has too few pixels to pad with."""
    if padding >= min(height, width):
        raise ValueError(
            f"reflect padding is {padding}; it must be less than the image size, {height} x {width}"
        )
