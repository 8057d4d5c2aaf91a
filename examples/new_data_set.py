"""A data set read from files: what ``--dataset new_data_set:shapes --data-root DIR`` would call.

python examples/new_data_set.py
"""

import tempfile
from pathlib import Path

import numpy as np

from cohort import Augmentation, CohortConfig, ImageDataset, Split, train_cohort


def shapes(root: str) -> ImageDataset:
    """Reads ROOT/shapes.npz. ``root`` is --data-root; leave the parameter out if there are no files."""
    with np.load(Path(root) / "shapes.npz") as file:
        images, labels = file["images"], file["labels"]
    train, validation, test = (
        Split(images[part], labels[part])
        for part in (slice(0, 400), slice(400, 500), slice(500, None))
    )
    pixels = train.images / 255
    return ImageDataset(
        name="shapes",
        train=train,  # uint8 [N, C, H, W] and int64 [N]
        validation=validation,  # optional: runs are evaluated on it too
        test=test,
        classes=("disc", "square"),
        mean=tuple(pixels.mean(axis=(0, 2, 3))),
        std=tuple(pixels.std(axis=(0, 2, 3))),
        augmentation=Augmentation(padding=1, padding_mode="zeros", flip=True),
    )


def draw(folder: str) -> None:
    """Make 600 pictures of 12 x 12 pixels, disc or square, with noise."""
    random, labels = np.random.default_rng(0), np.arange(600) % 2
    y, x = np.mgrid[-6:6, -6:6] + 0.5
    masks = np.stack([x**2 + y**2 < 20, np.maximum(abs(x), abs(y)) < 4])
    images = random.integers(0, 120, (600, 1, 12, 12)) + 130 * masks[labels][:, None]
    np.savez(Path(folder) / "shapes.npz", images=images.astype(np.uint8), labels=labels)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        draw(folder)
        config = CohortConfig(
            k=2,
            students="resnet8",
            dataset=shapes,
            data_root=folder,
            epochs=6,
            exchange="in_process",
        )
        result = train_cohort(config)
    print(result.summary["ensemble"])
