"""``data.json`` in a run's folder: what the run read, for whoever goes on with it or looks again."""

import json
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter, ValidationError

from cohort import formats
from cohort.data.dataset import QUERY, ImageDataset, Search
from cohort.errors import ConfigError
from cohort.files import atomic_write, to_json
from cohort.run.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class DataCard:
    """What there was to learn from."""

    classes: tuple[str, ...]
    """Names in the order of the labels."""
    image_shape: tuple[int, int, int]
    """(C, H, W)."""
    counts: dict[str, int]
    """Images by split: train, test, validation if there is one, and queries if test is a ``Search``."""
    skipped: tuple[str, ...] = ()
    """Pictures that could not be read and were left out for --skip-broken."""
    notes: tuple[str, ...] = ()
    """What the user was told of the files."""


_READER = TypeAdapter(DataCard)


def card_of(dataset: ImageDataset) -> DataCard:
    """The card of a data set."""
    test = dataset.test
    counts = {"train": len(dataset.train), "test": len(test)}
    if dataset.validation is not None:
        counts["validation"] = len(dataset.validation)
    if isinstance(test, Search):
        counts["queries"] = int((test.roles == QUERY).sum())
    return DataCard(
        classes=dataset.classes,
        image_shape=dataset.image_shape,
        counts=counts,
        skipped=dataset.skipped,
        notes=dataset.notes,
    )


def write_data_card(folder: RunFolder, dataset: ImageDataset) -> None:
    """Write the card of the data set that a run learns from; ConfigError if that cannot be done."""
    card = {formats.KEY: formats.DATA, **asdict(card_of(dataset))}
    try:
        atomic_write(folder.data, to_json(card, indent=2) + "\n")
    except OSError as error:
        raise ConfigError(f"{folder.data} cannot be written: {error.strerror}") from error


def read_data_card(folder: RunFolder) -> DataCard | None:
    """The card of the data set that a run learned from; None for a run of a version without cards.

    Raises ConfigError for a file that is no card, or of a format that is not known yet.
    """
    file = folder.data
    try:
        fields = json.loads(file.read_bytes())
        formats.check_format(fields, formats.DATA, file)
        return _READER.validate_python(fields)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        (key, *_), said = error.errors()[0]["loc"] or ("it",), error.errors()[0]["msg"]
        raise ConfigError(f"{file} does not describe a run's data: {key}: {said}") from error
    except ConfigError:
        raise
    except (ValueError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{file} does not describe a run's data: {error}") from error


def other_counts(folder: RunFolder, dataset: ImageDataset) -> tuple[str, ...]:
    """A sentence for each split that has not as many images as when the run of a folder began."""
    card = read_data_card(folder)
    if card is None:
        return ()
    now = card_of(dataset).counts
    return tuple(
        f"its data have changed: {now.get(which, 0)} images in {which}, where the run began with "
        f"{card.counts.get(which, 0)}"
        for which in dict.fromkeys((*card.counts, *now))
        if card.counts.get(which, 0) != now.get(which, 0)
    )


def check_as_many(folder: RunFolder, dataset: ImageDataset) -> None:
    """Raise ConfigError if a run to resume finds other numbers of images than it began with.

    Its batches would be others, and so the run another one.
    """
    for changed in other_counts(folder, dataset):
        raise ConfigError(f"--resume {folder.path}: {changed}; put them back, or start a new run")
