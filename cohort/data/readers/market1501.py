"""Market-1501 (Zheng et al., ICCV 2015): people seen by six cameras, to be found again.

``bounding_box_train`` is learned as classes; people in ``query`` are looked for in
``bounding_box_test``, by more of their pictures in ``gt_bbox`` if that lies there. A picture's name
says who is on it and which camera took it: ``0002_c1s1_000451_03.jpg``.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cohort.config import DataConfig, height_and_width
from cohort.data.dataset import (
    DISTRACTOR,
    GALLERY,
    JUNK,
    MORE,
    QUERY,
    Augmentation,
    ImageDataset,
    Search,
    Split,
)
from cohort.data.pictures.files import PictureFiles
from cohort.data.pictures.frame import Frame
from cohort.data.pictures.listing import counts_note, pictures_in
from cohort.errors import ConfigError

HOME = "Market-1501-v15.09.15"
TRAIN, GALLERIES, QUERIES, MORE_QUERIES = (
    "bounding_box_train",
    "bounding_box_test",
    "query",
    "gt_bbox",
)
DEFAULT_IMAGE_SIZE = 224
NAME = re.compile(r"(-1|\d{1,9})_c(\d{1,9})s\d+_\d+_\d+\.")
PUBLISHED = {
    "training images": 12_936,
    "training identities": 751,
    "queries": 3368,
    "identities to look for": 750,
    "gallery images": 19_732,
    "distractors": 2798,
    "junk images": 3819,
}


@dataclass(frozen=True)
class Shots:
    """The pictures of one folder, sorted by name."""

    names: list[str]
    """Below the folder of all."""
    people: npt.NDArray[np.int64]
    """Identities, [N]; ``DISTRACTOR`` and ``JUNK`` among those of the gallery."""
    cameras: npt.NDArray[np.int64]
    """[N]."""


def read(config: DataConfig) -> ImageDataset:
    """751 identities to learn, and a ``Search`` for 750 others; each picture whole, stretched."""
    home = find_home(config)
    frame = Frame(*height_and_width(config.image_size or DEFAULT_IMAGE_SIZE), fit="stretch")
    train, gallery, queries = (shots(home, folder) for folder in (TRAIN, GALLERIES, QUERIES))
    refuse_nobody(home / TRAIN, train)
    refuse_nobody(home / QUERIES, queries)
    people, labels = np.unique(train.people, return_inverse=True)
    found = (
        len(train.names),
        len(people),
        len(queries.names),
        len(np.unique(queries.people)),
        len(gallery.names),
        int((gallery.people == DISTRACTOR).sum()),
        int((gallery.people == JUNK).sum()),
    )
    counts = dict(zip(PUBLISHED, found, strict=True))
    return ImageDataset(
        name="market1501",
        train=Split(PictureFiles.of(home, train.names, frame), labels.astype(np.int64)),
        test=search(home, frame, queries, gallery),
        classes=tuple(f"{person:04d}" for person in people),
        # The padding is for --crop shift; the paper shifts nothing.
        augmentation=Augmentation(
            crop="none", padding=min(frame.height, frame.width) // 16, flip=True
        ),
        notes=counts_note("Market-1501", counts, PUBLISHED),
    )


def find_home(config: DataConfig) -> Path:
    """The folder of the archive in --data-root, or that itself."""
    root, needed = Path(config.data_root), (TRAIN, GALLERIES, QUERIES)
    for home in (root / HOME, root):
        if all((home / folder).is_dir() for folder in needed):
            return home
    raise ConfigError(
        f"--data-root {root} does not hold market1501: neither {root / HOME} nor itself has "
        f"{', '.join(needed)}; unpack {HOME}.zip there"
    )


def shots(home: Path, folder: str) -> Shots:
    """What the names of a folder's pictures say. Raises ConfigError for one that says nothing."""
    names = pictures_in(home / folder)
    if not names:
        raise ConfigError(f"{home / folder} holds no pictures")
    matches = [NAME.match(name) for name in names]
    for name, match in zip(names, matches, strict=True):
        if match is None:
            raise ConfigError(
                f"{home / folder / name}: its name does not say who is on it and which camera took "
                "it, as 0002_c1s1_000451_03.jpg does"
            )
    numbers = np.array([match.groups() for match in matches if match], np.int64)
    return Shots([f"{folder}/{name}" for name in names], numbers[:, 0], numbers[:, 1])


def refuse_nobody(folder: Path, shots: Shots) -> None:
    """Raise ConfigError for distractors and junk, which belong into the gallery."""
    nobody = np.flatnonzero(shots.people <= DISTRACTOR)
    if len(nobody):
        raise ConfigError(
            f"{folder} holds {Path(shots.names[nobody[0]]).name}, which is a picture of nobody; those "
            f"belong into {GALLERIES}"
        )


def search(home: Path, frame: Frame, queries: Shots, gallery: Shots) -> Search:
    """Queries, then the gallery, then more pictures of each query's person by its camera."""
    parts = [queries, gallery, more_shots(home, queries)]
    roles = [
        np.full(len(part.names), role)
        for part, role in zip(parts, (QUERY, GALLERY, MORE), strict=True)
    ]
    return Search(
        PictureFiles.of(home, [name for part in parts for name in part.names], frame),
        np.concatenate([part.people for part in parts]),
        cameras=np.concatenate([part.cameras for part in parts]),
        roles=np.concatenate(roles).astype(np.int8),
    )


def more_shots(home: Path, queries: Shots) -> Shots:
    """Those in ``gt_bbox`` of a query's person and camera, without the queries themselves."""
    if not (home / MORE_QUERIES).is_dir():
        nobody = np.empty(0, np.int64)
        return Shots([], nobody, nobody)
    found = shots(home, MORE_QUERIES)
    wanted = set(zip(queries.people.tolist(), queries.cameras.tolist(), strict=True))
    known = {Path(name).name for name in queries.names}
    rows = [
        row
        for row, who in enumerate(zip(found.people.tolist(), found.cameras.tolist(), strict=True))
        if who in wanted and Path(found.names[row]).name not in known
    ]
    return Shots([found.names[row] for row in rows], found.people[rows], found.cameras[rows])
