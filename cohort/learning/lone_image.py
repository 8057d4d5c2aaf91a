"""A batch of one image, of which batch normalisation may be unable to take a variance.

Shapes: C, H, W of the images.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cohort.errors import ConfigError
from cohort.models.modes import in_mode


@torch.no_grad()
def check_lone_image(
    module: nn.Module,
    image_shape: tuple[int, int, int],
    forward: Callable[[Tensor], Any],
    batch_size: int,
) -> None:
    """Raise ConfigError if ``forward``, what is run in training, cannot take one image (C, H, W).

    Batch norm needs two values per channel; a map of several pixels has them, one of a single pixel
    has not. The running statistics of ``module`` move.
    """
    try:
        with torch.random.fork_rng(devices=[]), in_mode(module, training=True):
            forward(torch.zeros(1, *image_shape))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ConfigError(
            f"--batch-size is {batch_size}, which leaves one image to a batch normalisation, and the "
            "network has shrunk that to a single pixel, which has no variance; make it greater"
        ) from error
