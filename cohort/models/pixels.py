"""Pixels from anywhere, as a student takes them. Shapes: B images, C channels, H x W pixels."""

import torch
from torch import Tensor

from cohort.data.source import to_float
from cohort.errors import ConfigError


def check_pixels(x_BCHW: Tensor, *, channels: int) -> Tensor:
    """The pixels in [0, 1], scaled if they are uint8.

    While torch.compile or torch.export look on, values are not looked at, for there are none. Raises
    ConfigError for another shape or type, or for values outside of [0, 1].
    """
    if x_BCHW.dim() != 4 or x_BCHW.shape[1] != channels:
        raise ConfigError(
            f"pixels are of shape {list(x_BCHW.shape)}; this student takes images "
            f"[batch, {channels}, height, width]"
        )
    if x_BCHW.dtype == torch.uint8:
        return to_float(x_BCHW)
    if not x_BCHW.is_floating_point():
        raise ConfigError(
            f"pixels are {x_BCHW.dtype}; they must be floating-point numbers from 0 to 1, or uint8 "
            "from 0 to 255"
        )
    if not torch.compiler.is_compiling() and x_BCHW.numel():
        _check_range(x_BCHW.detach())
    return x_BCHW.float() if x_BCHW.dtype == torch.float64 else x_BCHW  # as NumPy makes them


def _check_range(pixels: Tensor) -> None:
    low, high = (float(end) for end in torch.stack(pixels.aminmax()))  # waits for a GPU once
    if not (low >= 0 and high <= 1):  # which NaN is neither
        raise ConfigError(
            f"pixels are from {low:g} to {high:g}; they must lie from 0 to 1, or be uint8 from 0 to "
            "255: normalisation is part of the student"
        )
