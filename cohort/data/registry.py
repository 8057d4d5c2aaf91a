"""Data sets by name, and one's own; checked, split, and cut to the subsets asked for."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from cohort.config import DataConfig
from cohort.data import autoaugment, color_jitter
from cohort.data.dataset import Augmentation, ImageDataset, Search
from cohort.data.hold_out import hold_out
from cohort.data.idle_flags import refuse_idle_flags
from cohort.data.pictures.placing import placed
from cohort.data.readers import (
    cifar,
    digits,
    folder,
    imagenet,
    market1501,
    synthetic,
    synthetic_people,
    tiny_imagenet,
)
from cohort.data.statistics import channel_statistics, notes_on
from cohort.data.subset import subset
from cohort.data.validate import check_matches, validate
from cohort.errors import ConfigError, did_you_mean
from cohort.imports import import_object, takes, written_name


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How a data set is read, and which flags mean something to it."""

    read: Callable[[DataConfig], ImageDataset]
    resizes: bool = False
    """Has images of any size: --image-size means something to it."""
    downloads: bool = False
    """Can be fetched: --download means something to it."""
    measured: bool = True
    """Mean and standard deviation are those of whatever is trained on; else they are constants."""


READERS = {
    "digits": Reader(read=digits.read),
    "cifar10": Reader(read=cifar.read, downloads=True, measured=False),
    "cifar100": Reader(read=cifar.read, downloads=True, measured=False),
    "tiny-imagenet": Reader(read=tiny_imagenet.read, resizes=True),
    "imagenet": Reader(read=imagenet.read, resizes=True, measured=False),
    "market1501": Reader(read=market1501.read, resizes=True),
    "folder": Reader(read=folder.read, resizes=True),
    "synthetic": Reader(read=synthetic.read, resizes=True),
    "synthetic-people": Reader(read=synthetic_people.read, resizes=True),
}


def known_datasets() -> tuple[str, ...]:
    """The names that ``--dataset`` takes, besides one's own ``package.module:function``."""
    return tuple(READERS)


def load_dataset(config: DataConfig, seed: int) -> ImageDataset:
    """The data set, in memory or in files, with the subsets that ``config.data_seed`` or else ``seed`` picks.

    Mean and standard deviation remain those of the whole training split (without what --validation
    holds out of it, except CIFAR's, which are the published ones of all 50 000 images), so that
    networks trained on different subsets normalise alike. Whatever is wrong raises ConfigError.
    """
    reader = find_reader(config)
    refuse_flags_of_others(config, reader)
    dataset = reader.read(config)
    refuse_idle_flags(config, dataset)
    dataset = placed(dataset, config)
    if not dataset.mean:
        mean, std = channel_statistics(dataset.train.images)
        dataset = replace(dataset, mean=mean, std=std)
    validate(dataset)
    dataset = replace(dataset, notes=dataset.notes + notes_on(dataset.train.images))
    without = ""
    if config.validation is not None:
        dataset = hold_out(dataset, config.validation, measured=reader.measured)
        without = f" without the {config.validation} of --validation"
    seed = seed if config.data_seed is None else config.data_seed
    dataset = replace(
        dataset,
        augmentation=augmentation_of(config, dataset),
        train=subset(dataset.train, config.train_subset, "train_subset", seed, without),
        test=subset(dataset.test, config.test_subset, "test_subset", seed),
    )
    if isinstance(dataset.test, Search):
        check_matches(dataset, dataset.test)  # of the subset
    return dataset


def augmentation_of(config: DataConfig, dataset: ImageDataset) -> Augmentation:
    """The data set's own augmentation, and what the flags add to it."""
    own, (channels, height, width) = dataset.augmentation, dataset.image_shape
    if config.autoaugment and channels not in autoaugment.CHANNELS:
        raise ConfigError(
            f"--autoaugment was given; it takes images of 1 or 3 channels, and those of --dataset "
            f"{written_name(config.dataset)} have {channels}"
        )
    if config.color_jitter and channels not in color_jitter.CHANNELS:
        raise ConfigError(
            f"--color-jitter is {config.color_jitter}; it takes images of 1 or 3 channels, and those of "
            f"--dataset {written_name(config.dataset)} have {channels}"
        )
    if config.padding == "reflect" and own.padding >= min(height, width):
        raise ConfigError(
            f"--padding is reflect; the images of --dataset {written_name(config.dataset)} are {height} x "
            f"{width} and shifted by up to {own.padding} pixels, more than a mirror image has; use zeros"
        )
    if config.cutout is not None and config.cutout > min(height, width):
        raise ConfigError(
            f"--cutout is {config.cutout}; it must be at most {min(height, width)}, the size of the "
            f"images, which are {height} x {width}"
        )
    return replace(
        own,
        autoaugment=config.autoaugment or own.autoaugment,
        cutout=own.cutout if config.cutout is None else config.cutout,
        crop=config.crop or own.crop,
        padding_mode=config.padding or own.padding_mode,
        color_jitter=own.color_jitter if config.color_jitter is None else config.color_jitter,
        erasing=own.erasing if config.erasing is None else config.erasing,
    )


def find_reader(config: DataConfig) -> Reader:
    """The reader of a known name or of one's own function."""
    name = config.dataset
    if not isinstance(name, str) or ":" in name:
        return Reader(read=read_own, measured=False)
    if name.startswith("<"):
        raise ConfigError(
            f"--dataset is {name!r}, a function that only the program it stands in can name; put it "
            "into a module and give it as module:function"
        )
    if name not in READERS:
        hint = did_you_mean(name, READERS)
        raise ConfigError(
            f"--dataset is {name!r}{hint and f' ({hint})'}; it must be one of "
            f"{', '.join(known_datasets())}, or one's own package.module:function"
        )
    return READERS[name]


def refuse_flags_of_others(config: DataConfig, reader: Reader) -> None:
    """Raise ConfigError for a flag that means something to other data sets only."""
    if config.image_size is not None and not reader.resizes:
        able = ", ".join(name for name, other in READERS.items() if other.resizes)
        raise ConfigError(
            f"--image-size is {config.image_size}; --dataset {written_name(config.dataset)} has "
            f"images of a fixed size, only {able} can be resized"
        )
    if config.download and not reader.downloads:
        able = ", ".join(name for name, other in READERS.items() if other.downloads)
        raise ConfigError(
            f"--download was given; --dataset {written_name(config.dataset)} has no download, "
            f"only {able} have"
        )


def read_own(config: DataConfig) -> ImageDataset:
    """Call the user's function, with ``root=`` where it takes that; it returns an ImageDataset."""
    function = config.dataset
    if isinstance(function, str):
        function = import_object(function, "--dataset")
    try:
        dataset = function(**({"root": config.data_root} if takes(function, "root") else {}))
    except ConfigError:
        raise
    except Exception as error:  # the function may raise anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ConfigError(f"--dataset {written_name(config.dataset)} failed ({reason})") from error
    if not isinstance(dataset, ImageDataset):
        raise ConfigError(
            f"--dataset {written_name(config.dataset)} returned {type(dataset).__name__}; it must return a "
            "cohort.data.dataset.ImageDataset"
        )
    return dataset


def dataset_label(config: DataConfig) -> str:
    """A short name of the data set for the names of folders: of one's own, the function's."""
    return written_name(config.dataset).rpartition(":")[2].strip("<>")
