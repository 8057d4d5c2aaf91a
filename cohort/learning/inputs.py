"""What a training batch becomes before it is learned from, where that is more than its images."""

from collections.abc import Hashable
from typing import Any, NamedTuple, Protocol

from torch import Tensor


class Drawn(NamedTuple):
    """What differs from step to step."""

    way: Hashable = None
    """Which of several computations it is; each is captured for itself."""
    tensors: tuple[Tensor, ...] = ()
    """What it reads beside the images, on their device; of one way always of the same shapes."""


class Inputs(Protocol):
    """From the images of a step to what a learner's ``forward`` is given."""

    def draw(self, step: int, images_BCHW: Tensor, /) -> Drawn:
        """What is to be drawn, or asked for, for the images of ``step``, float [B, C, H, W] in [0, 1]."""
        ...

    def of(self, images_BCHW: Tensor, drawn: Drawn, /) -> Any:
        """What ``forward`` is given: computed from tensors alone, the same way at every step."""
        ...
