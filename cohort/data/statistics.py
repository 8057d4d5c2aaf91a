"""Mean and standard deviation of each channel, by which networks normalise their input."""

import numpy as np
import numpy.typing as npt

from cohort.data.dataset import Images
from cohort.data.pictures.files import pixels_of

CHUNK = 256  # images; bincount widens its input to int64, eight times a chunk at once is enough
MOST_COMPARED = 64  # images: enough to see whether they are all the same
PIXELS_AT_ONCE = 2**24
MOST_PIXELS = 2**28
"""Of large data sets a part is measured, evenly spread: all of CIFAR, 5 000 pictures of 224 x 224."""


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 [N, C, H, W], for pixels in [0, 1].

    Taken from a histogram of the 256 values, which is exact and does not depend on the order of
    summation. Rounded to 4 decimals, as they are commonly published. A channel without variation
    gets 1, so that nobody divides by zero.
    """
    images = _sample(images)
    histograms = np.zeros((images.shape[1], 256), dtype=np.int64)
    step = _at_once(images)
    for start in range(0, len(images), step):
        chunk = pixels_of(images[start : start + step])
        histograms += [
            np.bincount(channel.ravel(), minlength=256) for channel in chunk.swapaxes(0, 1)
        ]
    moments = [mean_and_std(counts) for counts in histograms]
    return tuple(mean for mean, _ in moments), tuple(std for _, std in moments)


def _at_once(images: Images, most: int = CHUNK) -> int:
    """How many images are looked at at once: fewer of large ones."""
    _, _, height, width = images.shape
    return max(1, min(most, PIXELS_AT_ONCE // int(height * width)))


def _sample(images: Images) -> Images:
    """The same ones whether they are in memory or in files."""
    count, _, height, width = images.shape
    most = max(1, MOST_PIXELS // (height * width))
    return images if count <= most else images[np.linspace(0, count - 1, most).astype(int)]


def notes_on(images: Images) -> tuple[str, ...]:
    """A sentence if all training images that are looked at, [N, C, H, W], are one and the same."""
    count = min(_at_once(images, MOST_COMPARED), len(images))
    looked_at = images[np.linspace(0, len(images) - 1, count).astype(int)]
    pixels = pixels_of(looked_at)
    if len(pixels) == 1 or (pixels != pixels[0]).any():
        return ()
    return (
        f"the training images are identical, all {len(pixels)} that were compared of {len(images)}",
    )


def mean_and_std(counts: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Mean and standard deviation, rounded, of values / 255 that occur ``counts`` [256] times."""
    values = np.arange(256) / 255
    mean = float(counts @ values / counts.sum())
    variance = float(counts @ (values - mean) ** 2 / counts.sum())
    return round(mean, 4), round(variance**0.5, 4) or 1.0
