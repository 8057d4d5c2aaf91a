"""Made-up people, each a pattern of clothes, seen by three cameras: to find them again by features.

A small Market-1501 without files: other people are trained on than are looked for, the gallery has
distractors and junk, and there are more pictures of each query. Integers only, from NumPy's PCG64, so
that every machine makes the same pictures.
"""

from typing import NamedTuple

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
from cohort.data.pictures.placing import check_made_up
from cohort.data.statistics import channel_statistics

TRAINED, LOOKED_FOR = 32, 24
CAMERAS = 3
PICTURES = 10
"""Of each person by each camera, in training."""
SEEN = (GALLERY, GALLERY, QUERY, MORE, MORE)
"""What each of a person's pictures by a camera is, in test."""
DISTRACTORS, WITHOUT_ANYBODY = 24, 12
SEARCHED = LOOKED_FOR * CAMERAS * len(SEEN) + DISTRACTORS + WITHOUT_ANYBODY
"""Pictures of the test split."""
DEFAULT_IMAGE_SIZE = "32x16"
ROWS, COLUMNS = 6, 3  # patches of colour that a person wears
NOISE = 48  # of 255, added or subtracted at most
SHIFT = 8  # a person stands off by at most so many parts of the picture's height and width
CAST = (5, 12)  # of 8: by what a camera multiplies each colour, at least and at most
SEED = 15010  # part of the data set: runs with different seeds learn the same pictures


class Scene(NamedTuple):
    """What all pictures have in common."""

    random: np.random.Generator
    height: int
    width: int
    casts: npt.NDArray[np.int16]
    """What each camera makes of the colours: [cameras, channels, 1, 1], in eighths."""


def read(config: DataConfig) -> ImageDataset:
    """960 training pictures of 32 people, and 396 in test, of which 72 are queries; RGB, 32 x 16."""
    height, width = height_and_width(config.image_size or DEFAULT_IMAGE_SIZE)
    check_made_up(config, TRAINED * CAMERAS * PICTURES + SEARCHED, height, width)
    random = np.random.Generator(np.random.PCG64(SEED))
    casts = random.integers(*CAST, (CAMERAS, 3, 1, 1), dtype=np.int16, endpoint=True)
    scene = Scene(random, height, width, casts)
    labels = np.arange(TRAINED, dtype=np.int64).repeat(CAMERAS * PICTURES)
    cameras = np.tile(np.arange(CAMERAS).repeat(PICTURES), TRAINED)
    train = Split(photograph(scene, labels, cameras), labels)
    mean, std = channel_statistics(train.images)
    return ImageDataset(
        name="synthetic-people",
        train=train,
        test=make_search(scene),
        classes=tuple(f"person {label}" for label in range(TRAINED)),
        mean=mean,
        std=std,
        augmentation=Augmentation(flip=True),
    )


def make_search(scene: Scene) -> Search:
    """People who were not trained on, then those whom nobody looks for, then nobody at all."""
    each = CAMERAS * len(SEEN)
    people = np.arange(1, LOOKED_FOR + 1, dtype=np.int64).repeat(each)
    strangers = np.arange(DISTRACTORS, dtype=np.int64) + LOOKED_FOR + 1
    cameras = np.concatenate(
        [
            np.tile(np.arange(CAMERAS).repeat(len(SEEN)), LOOKED_FOR),
            np.arange(DISTRACTORS + WITHOUT_ANYBODY) % CAMERAS,
        ]
    )
    shown = photograph(scene, np.concatenate([people, strangers]), cameras[:-WITHOUT_ANYBODY])
    size = (WITHOUT_ANYBODY, 3, scene.height, scene.width)
    background = scene.random.integers(0, 256, size, dtype=np.uint8)
    others = len(strangers) + WITHOUT_ANYBODY
    return Search(
        np.concatenate([shown, background]),
        np.concatenate([people, np.repeat([DISTRACTOR, JUNK], [DISTRACTORS, WITHOUT_ANYBODY])]),
        cameras + 1,
        np.concatenate([np.tile(SEEN, LOOKED_FOR * CAMERAS), np.full(others, GALLERY)]).astype(
            np.int8
        ),
    )


def photograph(
    scene: Scene, people: npt.NDArray[np.int64], cameras: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    """A picture [N, 3, H, W] of each person [N] by each camera [N]: clothes, moved, cast, and noise."""
    random, height, width = scene.random, scene.height, scene.width
    clothes = random.integers(0, 256, (people.max() + 1, 3, ROWS, COLUMNS), dtype=np.int16)
    rows, columns = np.arange(height) * ROWS // height, np.arange(width) * COLUMNS // width
    images = np.empty((len(people), 3, height, width), dtype=np.uint8)
    for image, person, camera in zip(images, people, cameras, strict=True):
        worn = clothes[person][:, rows[:, None], columns]
        off = [random.integers(-(side // SHIFT), side // SHIFT + 1) for side in (height, width)]
        seen = np.roll(worn, off, (1, 2)) * scene.casts[camera] // 8
        noise = random.integers(-NOISE, NOISE + 1, seen.shape, dtype=np.int16)
        image[:] = np.clip(seen + noise, 0, 255)
    return images
