"""Pictures that cannot be read: found before training starts, and named, or left out.

N pictures of a split.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cohort.data.dataset import ImageDataset, Search, Split
from cohort.data.pictures.files import PictureFiles, threads
from cohort.data.pictures.listing import named
from cohort.data.pictures.viewer import BrokenPictureError, as_shown, opened
from cohort.errors import ConfigError

Broken = dict[int, BrokenPictureError]
"""What is wrong with the pictures of some rows."""
CHUNK = 64  # pictures that a thread looks at before it takes others
END_OF_JPEG = b"\xff\xd9"


def find_broken(count: int, look: Callable[[int], None]) -> Broken:
    """Of ``count`` rows those for which ``look``, called in threads, raises BrokenPictureError."""
    broken: Broken = {}

    def try_some(start: int) -> None:
        for row in range(start, min(start + CHUNK, count)):
            try:
                look(row)
            except BrokenPictureError as error:
                broken[row] = error

    list(threads().map(try_some, range(0, count, CHUNK)))
    return dict(sorted(broken.items()))


def look_at(images: PictureFiles, *, whole: bool) -> Broken:
    """Pictures that cannot be decoded; those that only look as if they could unless ``whole``."""
    check = decode if whole else glance
    return find_broken(len(images), lambda row: check(images.path(row)))


def decode(path: Path) -> None:
    """Raise BrokenPictureError unless the picture can be shown."""
    with opened(path) as picture:
        as_shown(picture)


def glance(path: Path) -> None:
    """The same, but JPEGs need only begin and end as such, and PNGs have the right checksums."""
    with opened(path) as picture:
        if picture.format == "PNG":
            picture.verify()
        elif picture.format != "JPEG" or not _ends_as_jpeg(path):
            as_shown(picture)


def settle(dataset: ImageDataset, broken: Mapping[str, Broken], *, skip: bool) -> ImageDataset:
    """The data set without pictures that are broken, by split; it says in its notes how many.

    Raises ConfigError that names them unless they are to be skipped, and for a class that has none
    left.
    """
    every = [error for each in broken.values() for error in each.values()]
    if not every:
        return dataset
    if not skip:
        raise _refusal(every)
    splits: dict[str, Any] = {
        which: _without(dataset, which, rows) for which, rows in broken.items() if rows
    }
    paths = tuple(str(error.path) for error in every)
    were = (
        "picture that cannot be read was"
        if len(paths) == 1
        else "pictures that cannot be read were"
    )
    note = f"{len(paths)} {were} left out: {named(paths)}"
    return replace(
        dataset, **splits, notes=(*dataset.notes, note), skipped=(*dataset.skipped, *paths)
    )


def _refusal(broken: list[BrokenPictureError]) -> ConfigError:
    if len(broken) == 1:
        return broken[0]
    each = named([f"{error.path} ({error.reason})" for error in broken])
    return ConfigError(
        f"{len(broken)} pictures cannot be read: {each}; repair or remove them, or start again with "
        "--skip-broken"
    )


def _without(dataset: ImageDataset, which: str, rows: Broken) -> Split:
    split: Split = getattr(dataset, which)
    good = np.ones(len(split), bool)
    good[list(rows)] = False
    kept = split.part(good)
    if isinstance(split, Search):
        return kept
    gone = np.setdiff1d(split.labels, kept.labels)
    if len(gone):
        names = named([dataset.classes[label] for label in gone])
        raise ConfigError(
            f"--skip-broken leaves no pictures in {which} of {names}: {_refusal(list(rows.values()))}"
        )
    return kept


def _ends_as_jpeg(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-len(END_OF_JPEG), os.SEEK_END)
        return file.read() == END_OF_JPEG
