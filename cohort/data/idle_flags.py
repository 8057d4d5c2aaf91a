"""Flags that would do nothing for the data that were read: that is a misunderstanding."""

from cohort.config import DataConfig
from cohort.data.dataset import ImageDataset, Search
from cohort.data.fed import in_files
from cohort.data.pictures.files import PictureFiles
from cohort.errors import ConfigError
from cohort.imports import written_name


def refuse_idle_flags(config: DataConfig, dataset: ImageDataset) -> None:
    """Raise ConfigError for the first one; ``dataset`` is as it was read, before it is placed."""
    name, crop = written_name(config.dataset), config.crop or dataset.augmentation.crop
    given = {
        f"--feed is {config.feed}": config.feed is not None,
        f"--decoders is {config.decoders}": config.decoders is not None,
        "--skip-broken was given": config.skip_broken,
    }
    if not in_files(dataset) and any(given.values()):
        raise ConfigError(
            f"{next(said for said, is_given in given.items() if is_given)}; --dataset {name} has its "
            "images in memory, and no files that could be decoded or broken; leave it out"
        )
    if config.distance != "euclidean" and not isinstance(dataset.test, Search):
        raise ConfigError(
            f"--distance is {config.distance}; --dataset {name} is tested by its classes, and only "
            "where people are looked for, as in market1501, are there distances; leave it out"
        )
    if crop == "resized":
        _refuse_resized(config, dataset)
    shifts = crop == "shift" and dataset.augmentation.padding > 0
    if config.padding is not None and not shifts:
        raise ConfigError(
            f"--padding is {config.padding}; the pictures of --dataset {name} are not shifted, so that no "
            "border is filled; leave it out"
        )
    if config.crop == "shift" and dataset.augmentation.padding == 0:
        raise ConfigError(
            f"--crop is shift; --dataset {name} does not say by how many pixels, so use none"
        )


def _refuse_resized(config: DataConfig, dataset: ImageDataset) -> None:
    whose = "--crop is" if config.crop else f"--dataset {dataset.name} has the crop"
    if not isinstance(dataset.train.images, PictureFiles):
        raise ConfigError(
            f"{whose} resized, which cuts each picture anew out of its file; --dataset "
            f"{written_name(config.dataset)} has its images in memory, so use shift or none"
        )
    if config.feed == "memory":
        raise ConfigError(
            f"--feed is memory, but {whose} resized, which cuts each picture anew out of its file; use "
            "--feed node, or --crop shift"
        )
