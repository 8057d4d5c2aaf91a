"""Images that stay in their files until they are asked for.

N images, C channels, H and W height and width.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cohort.data.pictures.frame import Draws, Frame
from cohort.data.pictures.viewer import read_picture

CHANNELS = 3
Pixels = npt.NDArray[np.uint8]
Promise = Callable[[], Pixels]
"""Gives uint8 [N, C, H, W] once they are decoded."""


@dataclass(frozen=True)
class PictureFiles:
    """RGB pictures of any size, each brought to one frame when it is decoded: as if [N, C, H, W].

    Holds names alone, so that it is small wherever it is sent; the files must lie there too.
    """

    root: str
    names: npt.NDArray[np.bytes_]
    """Paths below ``root``, [N], as the file system has them: bytes are a quarter of NumPy's text."""
    frame: Frame

    @classmethod
    def of(cls, root: str | Path, names: Sequence[str], frame: Frame) -> "PictureFiles":
        """The files of those names below ``root``."""
        return cls(str(root), np.array([os.fsencode(name) for name in names], np.bytes_), frame)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return len(self.names), CHANNELS, self.frame.height, self.frame.width

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, rows: slice | npt.NDArray[Any]) -> "PictureFiles":
        """Some of the pictures: those of a slice, of a mask [N], or of indices. None is decoded."""
        return replace(self, names=self.names[rows])

    def path(self, row: int) -> Path:
        """Where a picture lies."""
        return Path(self.root, os.fsdecode(self.names[row]))

    def begin(self, cuts: Iterable[Draws] | None = None, pool: Executor | None = None) -> Promise:
        """Start to decode all of them; the promise waits for that.

        Args:
            cuts: what a random cut-out of each is drawn from, [N, DRAWS]; None for the frame's own.
            pool: who decodes; by default threads of this process, one for each core.
        """
        pool = pool or threads()
        pixels = np.empty(self.shape, np.uint8)
        each: list[Draws | None] = [None] * len(self) if cuts is None else list(cuts)

        def decode(row: int) -> None:
            image = read_picture(self.path(row), self.frame, each[row])
            pixels[row] = image.transpose(2, 0, 1)

        started = [pool.submit(decode, row) for row in range(len(self))]

        def wait() -> Pixels:
            for one in started:
                one.result()
            return pixels

        return wait


def pixels_of(images: "Pixels | PictureFiles") -> Pixels:
    """Images in memory as they are; those in files decoded."""
    return images.begin()() if isinstance(images, PictureFiles) else images


@cache
def threads() -> ThreadPoolExecutor:
    """This process's decoders: decoding works outside Python's lock."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decoder")
