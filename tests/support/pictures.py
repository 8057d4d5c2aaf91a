"""Small JPEGs in the official layouts of data sets: coloured patterns that can be learned, and noise.

Every maker returns the folder for ``--data-root``.
"""

from pathlib import Path

import numpy as np
from PIL import Image

PATCHES = 3  # of colour, across and down, in what all pictures of a class have in common
NOISE = 40
MARKET = "Market-1501-v15.09.15"
TINY = "tiny-imagenet-200"


def pattern(seed: int, height: int, width: int, number: int) -> Image.Image:
    """Picture ``number`` of what ``seed`` stands for: patches of its colours, somewhat noisy."""
    colours = np.random.default_rng(seed).integers(NOISE, 256 - NOISE, (PATCHES, PATCHES, 3))
    rows, columns = (np.arange(side) * PATCHES // side for side in (height, width))
    noise = np.random.default_rng([seed, number]).integers(-NOISE, NOISE, (height, width, 3))
    pixels = colours[rows[:, None], columns] + noise
    return Image.fromarray(pixels.astype(np.uint8))


def save_pattern(path: Path, seed: int, number: int, height: int, width: int) -> None:
    """As a JPEG, in a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pattern(seed, height, width, number).save(path, "JPEG", quality=90)


def make_folder(
    root: Path,
    *,
    classes: int = 4,
    train: int = 16,
    test: int = 8,
    size: tuple[int, int] = (40, 48),
) -> Path:
    """``train/<class>/*.jpg`` and ``test/<class>/*.jpg``: so many of each class, height x width."""
    for split, count in (("train", train), ("test", test)):
        for label in range(classes):
            for number in range(count):
                place = root / split / f"class{label}" / f"{number:04d}.jpg"
                save_pattern(place, label, number + train * (split == "test"), *size)
    return root


def make_imagenet(
    root: Path, *, classes: int = 3, train: int = 12, val: int = 4, size: tuple[int, int] = (60, 80)
) -> Path:
    """``train/<wnid>/*.JPEG`` and ``val/<wnid>/*.JPEG``, every second picture upright."""
    for split, count in (("train", train), ("val", val)):
        for label in range(classes):
            for number in range(count):
                place = root / split / wnid(label) / f"{wnid(label)}_{number}.JPEG"
                shape = size if number % 2 else size[::-1]
                save_pattern(place, label, number + train * (split == "val"), *shape)
    return root


def make_tiny_imagenet(
    root: Path, *, classes: int = 4, train: int = 16, val: int = 6, size: int = 64
) -> Path:
    """``tiny-imagenet-200`` with train, val, test and the lists; every eighth picture is grey."""
    home = root / TINY
    listed = []
    for label in range(classes):
        for number in range(train):
            place = home / "train" / wnid(label) / "images" / f"{wnid(label)}_{number}.JPEG"
            save_pattern(place, label, number, size, size)
            if number % 8 == 7:
                with Image.open(place) as picture:
                    picture.convert("L").save(place)
        boxes = "".join(f"{wnid(label)}_{n}.JPEG\t0\t0\t63\t63\n" for n in range(train))
        (place.parent.parent / f"{wnid(label)}_boxes.txt").write_text(boxes)
    for index in range(classes * val):  # in no order of classes
        label, number = index % classes, index // classes
        save_pattern(home / "val/images" / f"val_{index}.JPEG", label, train + number, size, size)
        listed.append(f"val_{index}.JPEG\t{wnid(label)}\t0\t0\t63\t63\n")
    (home / "val" / "val_annotations.txt").write_text("".join(listed))
    (home / "wnids.txt").write_text("".join(f"{wnid(k)}\n" for k in reversed(range(classes))))
    words = [f"{wnid(k)}\tthing {k}, something else\n" for k in range(classes + 3)]
    (home / "words.txt").write_text("".join(words))
    return root


def wnid(label: int) -> str:
    """A made-up name as WordNet numbers its nouns."""
    return f"n{1000 + label:08d}"


def make_market(
    root: Path,
    *,
    identities: int = 8,
    test_identities: int = 6,
    cameras: int = 3,
    pictures: int = 3,
    distractors: int = 4,
    junk: int = 3,
    more: bool = False,
    size: tuple[int, int] = (128, 64),
) -> Path:
    """``Market-1501-v15.09.15``: so many pictures of each identity by each camera.

    One picture more of every test identity by every camera is a query; with ``more``, two more of
    each lie in ``gt_bbox``, beside some of the training identities.
    """
    home = root / MARKET
    train = [2 * k + 2 for k in range(identities)]
    test = [2 * k + 1 for k in range(test_identities)]

    def shots(folder: str, people: list[int], numbers: range) -> None:
        for person in people:
            for camera in range(1, cameras + 1):
                for number in numbers:
                    place = home / folder / market_name(person, camera, number)
                    save_pattern(place, person, 100 * camera + number, *size)

    shots("bounding_box_train", train, range(pictures))
    shots("bounding_box_test", test, range(pictures))
    shots("query", test, range(pictures, pictures + 1))
    for number in range(distractors):
        name = market_name(0, 1 + number % cameras, number)
        save_pattern(home / "bounding_box_test" / name, 5000 + number, 0, *size)
    for number in range(junk):
        name = market_name(-1, 1 + number % cameras, number)
        save_pattern(
            home / "bounding_box_test" / name, test[number % len(test)], 50 + number, *size
        )
    if more:
        shots("gt_bbox", [*test, train[0]], range(pictures + 1, pictures + 3))
    for folder in ("bounding_box_train", "bounding_box_test", "query"):
        (home / folder / "Thumbs.db").write_bytes(b"not a picture")
    return root


def market_name(person: int, camera: int, number: int) -> str:
    """As ``0002_c1s1_000451_03.jpg``; -1 is not padded."""
    who = "-1" if person < 0 else f"{person:04d}"
    return f"{who}_c{camera}s1_{number:06d}_00.jpg"
