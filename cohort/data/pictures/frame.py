"""How a picture of any size becomes one of height x width: by one cut-out of it, resized.

A box is (left, top, right, bottom) in pixels of the picture, and may lie between them.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Box = tuple[float, float, float, float]
Draws = npt.NDArray[np.float64]
"""Numbers in [0, 1) that a random cut-out of one picture is made from: [DRAWS]."""

TRIES = 10
DRAWS = 4 * TRIES
"""Area, proportions and place of each of the ten cut-outs that are tried."""
AREA = (0.08, 1.0)
"""Smallest and largest random cut-out, as parts of the picture."""
PROPORTIONS = (3 / 4, 4 / 3)
"""Width by height of random cut-outs, from and to."""


@dataclass(frozen=True)
class Frame:
    """The size that all pictures of a data set are brought to, and how."""

    height: int
    width: int
    fit: Literal["cover", "stretch"] = "cover"
    """cover: the largest centred cut-out of the frame's proportions; stretch: the whole picture."""
    part: float = 1.0
    """How much of each side of that cut-out is kept, around its centre."""

    def box(self, width: int, height: int) -> Box:
        """What is cut out of a picture of that size; as Pillow's ``ImageOps.fit`` for ``part`` 1."""
        if self.fit == "stretch":
            return 0.0, 0.0, float(width), float(height)
        across, down = float(width), float(height)
        proportions = self.width / self.height
        if width / height >= proportions:
            across = min(across, proportions * height)  # which rounding may make greater
        else:
            down = min(down, width / proportions)
        across, down = across * self.part, down * self.part
        left, top = (width - across) * 0.5, (height - down) * 0.5
        return left, top, min(left + across, float(width)), min(top + down, float(height))

    def random_box(self, width: int, height: int, draws: Draws) -> Box:
        """A random cut-out (Szegedy et al., CVPR 2015, section 6), as torchvision draws it.

        Of ``AREA`` of the picture and ``PROPORTIONS``, whatever the frame's; ``draws`` are [DRAWS].
        If none of ten fits into the picture, the largest centred one within the proportions.
        """
        for area, shape, x, y in draws.reshape(TRIES, 4):
            across, down = _sides(width * height * _between(AREA, area), shape)
            if 0 < across <= width and 0 < down <= height:
                left, top = int(x * (width - across + 1)), int(y * (height - down + 1))
                return float(left), float(top), float(left + across), float(top + down)
        low, high = PROPORTIONS
        across = min(width, round(height * high))
        down = min(height, round(width / low))
        left, top = (width - across) // 2, (height - down) // 2
        return float(left), float(top), float(left + across), float(top + down)


def _between(ends: tuple[float, float], number: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * float(number)


def _sides(area: float, draw: float) -> tuple[int, int]:
    """Width and height of an area whose proportions are log-uniform in ``PROPORTIONS``."""
    low, high = PROPORTIONS
    proportions = math.exp(_between((math.log(low), math.log(high)), draw))
    return round(math.sqrt(area * proportions)), round(math.sqrt(area / proportions))
