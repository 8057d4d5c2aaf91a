"""A validation split taken out of the training split: the same images in every run."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from cohort.data.dataset import ImageDataset, Split
from cohort.data.statistics import channel_statistics
from cohort.errors import ConfigError
from cohort.seeding import generator

SHUFFLE_SEED = 0  # of no run: runs with different seeds hold out the same images


def hold_out(dataset: ImageDataset, count: int, *, measured: bool) -> ImageDataset:
    """The data set with ``count`` training images as its validation split.

    They are the last ones in the order of the files; where those lie class after class, the last of
    a fixed shuffle, for else whole classes would be missing from training. Both parts keep their
    order. Where mean and standard deviation are ``measured`` on the training split, they are
    measured again on what is left of it.

    Raises:
        ConfigError: if nothing is left to train on, or the data set has a validation split already.
    """
    refuse(dataset, count)
    train, validation = parts(dataset.train, count)
    mean, std = channel_statistics(train.images) if measured else (dataset.mean, dataset.std)
    return replace(dataset, train=train, validation=validation, mean=mean, std=std)


def refuse(dataset: ImageDataset, count: int) -> None:
    """Raise ConfigError for a validation split that cannot be held out."""
    if dataset.validation is not None:
        raise ConfigError(
            f"--validation is {count}, but --dataset {dataset.name} brings a validation split of its "
            f"own, of {len(dataset.validation)} images; leave the flag out"
        )
    if count >= len(dataset.train):
        raise ConfigError(
            f"--validation is {count}; it must be less than {len(dataset.train)}, the size of the "
            "training split"
        )


def parts(split: Split, count: int) -> tuple[Split, Split]:
    """What is left, and the ``count`` images that are held out."""
    if not class_after_class(split.labels):  # slices, so that nothing is copied
        return split.part(slice(None, -count)), split.part(slice(-count, None))
    order = torch.randperm(len(split), generator=generator(SHUFFLE_SEED, "validation")).numpy()
    held = np.isin(np.arange(len(split)), order[-count:])
    return split.part(~held), split.part(held)


def class_after_class(labels: npt.NDArray[np.int64]) -> bool:
    """Whether no class [N] comes again after another one."""
    return int(np.count_nonzero(np.diff(labels))) == len(np.unique(labels)) - 1
