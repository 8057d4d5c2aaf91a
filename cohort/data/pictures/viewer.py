"""One file as a viewer shows it: uint8 RGB, by Pillow.

Not by torchvision.io: its JPEGs and PNGs are equal to the bit, but with the resizing that follows
they are no faster, and of CMYK, transparency and 16 bits it makes something else.
"""

import contextlib
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cohort.data.pictures.frame import Draws, Frame
from cohort.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

WHITE = (255, 255, 255, 255)
"""What lies behind what is transparent."""
WHITES = {"I;16": (65535,), "I": (65535, 2**31 - 1), "F": (1, 255, 65535)}
"""What white is where a pixel is one number of more than 8 bits, by Pillow's mode.

The first that no pixel exceeds: files of 16 bits mean 65535, and those of 32 do not say.
"""


class BrokenPictureError(ConfigError):
    """A file that cannot be shown: ``path`` and why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return (
            f"{self.path} cannot be read as a picture: {self.reason}; repair or remove it, or start "
            "again with --skip-broken"
        )

    @property
    def amid_training(self) -> str:
        """The sentence for a run that has begun, which goes on with the same pictures or not at all."""
        return (
            f"{self.path} cannot be read as a picture: {self.reason}; put it back and --resume the run, "
            "or start a new one with --skip-broken"
        )


def read_picture(path: Path, frame: Frame, cut: Draws | None = None) -> npt.NDArray[np.uint8]:
    """A picture brought to its frame: uint8 [H, W, RGB].

    ``cut``: what a random cut-out is drawn from, in place of the frame's own. Raises BrokenPictureError.
    """
    with opened(path) as picture:
        shown = as_shown(picture)
        size = shown.width, shown.height
        box = frame.box(*size) if cut is None else frame.random_box(*size, cut)
        bilinear = pillow().Resampling.BILINEAR
        return np.asarray(shown.resize((frame.width, frame.height), bilinear, box))


@contextlib.contextmanager
def opened(path: Path) -> "Iterator[Picture]":
    """The first frame of a file, whose pixels are not decoded yet.

    Whatever goes wrong inside is raised as BrokenPictureError.
    """
    image = pillow()
    try:
        with image.open(path) as picture:
            yield picture
    except image.UnidentifiedImageError as error:
        raise BrokenPictureError(path, "its format is not known") from error
    except (image.DecompressionBombWarning, image.DecompressionBombError) as error:
        reason = f"it has more than {image.MAX_IMAGE_PIXELS} pixels; make it smaller"
        raise BrokenPictureError(path, reason) from error
    except Exception as error:  # Pillow's many decoders raise whatever they like
        raise BrokenPictureError(path, _said(error)) from error


def as_shown(picture: "Picture") -> "Picture":
    """Decoded, upright, and RGB."""
    picture.load()
    _turn_upright(picture)
    if picture.mode.startswith(("I", "F")):
        return _scaled(picture)
    if picture.has_transparency_data:
        image, above = pillow(), picture.convert("RGBA")
        picture = image.alpha_composite(image.new("RGBA", above.size, WHITE), above)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


@cache
def pillow() -> Any:
    """Its module Image, imported here because that is slow and most runs do without.

    From now on it raises for pictures of so many pixels that it would warn, and does not warn of
    tags that are cut off.
    """
    from PIL import Image

    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    return Image


def _turn_upright(picture: "Picture") -> None:
    """As its tag says; a tag that cannot be read says nothing, and viewers show such pictures."""
    from PIL import ImageOps

    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(picture, in_place=True)


def _scaled(picture: "Picture") -> "Picture":
    """Numbers from 0 to white as 0 to 255, rounded; below is black."""
    values = np.nan_to_num(np.asarray(picture, np.float64), posinf=np.inf)
    whites = WHITES["I;16" if picture.mode.startswith("I;16") else picture.mode]
    white = next((white for white in whites if values.max() <= white), None)
    if white is None:
        raise ValueError(f"its values reach {values.max():g}, and at most {whites[-1]} is white")
    grey = np.rint(values.clip(0) * (255 / white)).astype(np.uint8)
    if "transparency" in picture.info:
        grey[values == picture.info["transparency"]] = 255
    shown: Picture = pillow().fromarray(grey).convert("RGB")
    return shown


def _said(error: Exception) -> str:
    said = getattr(error, "strerror", None) or str(error)
    return " ".join(said.split()) or type(error).__name__
