"""Handwritten digits, 8x8 grey: ships with scikit-learn, so a first run needs no download.

1797 images of the UCI set "Optical Recognition of Handwritten Digits".
"""

import numpy as np

from cohort.config import DataConfig
from cohort.data.dataset import Augmentation, ImageDataset, Split
from cohort.data.statistics import channel_statistics

TEST_SIZE = 360
SPLIT_SEED = 1706  # the split is part of the data set: runs with different seeds share their test


def read(config: DataConfig) -> ImageDataset:
    """1437 training and 360 test images, split once and for all, each class in proportion."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = np.round(bunch.images[:, None] * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_SIZE, random_state=SPLIT_SEED, stratify=labels
    )
    mean, std = channel_statistics(images[train])
    return ImageDataset(
        name="digits",
        train=Split(images[train], labels[train]),
        test=Split(images[test], labels[test]),
        classes=tuple("0123456789"),
        mean=mean,
        std=std,
        augmentation=Augmentation(padding=1, padding_mode="zeros"),
    )
