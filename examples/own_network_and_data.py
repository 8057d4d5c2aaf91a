"""A cohort of one's own networks on one's own pictures: two callables, and nothing to register.

python examples/own_network_and_data.py
"""

import numpy as np
from torch import nn

from cohort import CohortConfig, ImageDataset, Split, train_cohort


def my_network(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    """A new network, from pixels [B, C, H, W] to logits [B, num_classes]."""
    return nn.Sequential(
        nn.Conv2d(image_shape[0], 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, num_classes),
    )


def my_dataset() -> ImageDataset:
    """Grey noise that is darker or brighter than the middle: 500 pictures to learn, 100 to test."""
    images = np.random.default_rng(0).integers(0, 200, (600, 3, 16, 16), dtype=np.uint8)
    labels = np.arange(600) % 2
    images += (labels * 55).astype(np.uint8)[:, None, None, None]
    return ImageDataset(
        name="brightness",
        train=Split(images[:500], labels[:500]),
        test=Split(images[500:], labels[500:]),
        classes=("dark", "bright"),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )


if __name__ == "__main__":
    result = train_cohort(
        CohortConfig(
            k=2,
            students=my_network,
            dataset=my_dataset,
            epochs=3,
            exchange="in_process",  # leave it out for an actor per student
        )
    )
    for student in result.summary["students"]:
        print(student["student"], student["model"], student["test_accuracy"])
    print("ensemble", result.summary["ensemble"]["test_accuracy"], "in", result.run_dir)
