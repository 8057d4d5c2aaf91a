"""One file as a viewer shows it: uint8 RGB."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cohort.data.pictures.frame import Draws, Frame
from cohort.errors import ConfigError


def read_picture(path: Path, frame: Frame, cut: Draws | None = None) -> npt.NDArray[np.uint8]:
    """A picture brought to its frame: uint8 [H, W, RGB].

    ``cut``: what a random cut-out is drawn from, in place of the frame's own. Raises ConfigError,
    naming the file, if it is no picture.
    """
    from PIL import Image
    from torchvision.datasets.folder import pil_loader

    try:
        picture = pil_loader(str(path))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ConfigError(f"{path} cannot be read as a picture: {error}") from error
    size = picture.width, picture.height
    box = frame.box(*size) if cut is None else frame.random_box(*size, cut)
    return np.asarray(picture.resize((frame.width, frame.height), Image.Resampling.BILINEAR, box))
