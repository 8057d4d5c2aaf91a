"""``data.json`` in a run's folder: what the run read, for whoever goes on with it or looks again."""

import hashlib
from dataclasses import asdict, dataclass, field

import numpy as np
from pydantic import TypeAdapter

from cohort import formats
from cohort.cards import read_json
from cohort.data.dataset import QUERY, ImageDataset, Search, Split
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
    labels_sha256: dict[str, str] = field(default_factory=dict)
    """By split, of the names of all images' classes, or, of a ``Search``, of their identities, in order."""
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
        labels_sha256={which: _digest(dataset, split) for which, split in dataset.splits.items()},
        skipped=dataset.skipped,
        notes=dataset.notes,
    )


def _digest(dataset: ImageDataset, split: Split) -> str:
    """The same whatever the order of the classes."""
    found, places = np.unique(split.labels, return_inverse=True)
    names = found.tolist()
    if not isinstance(split, Search):
        names = [dataset.classes[label] for label in names]
    order = np.argsort(np.argsort([str(name) for name in names]))
    text = "\n".join(sorted(map(str, names))).encode()
    return hashlib.sha256(text + b"\0" + order[places].astype("<i4").tobytes()).hexdigest()


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
        return read_json(file, _READER, formats.DATA, "a run's data")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error


def changes(folder: RunFolder, dataset: ImageDataset) -> tuple[str, ...]:
    """A sentence for each split that has other images or labels than when the run of a folder began.

    Pictures themselves are not compared.
    """
    card, now = read_data_card(folder), card_of(dataset)
    if card is None:
        return ()
    counts = {which: (card.counts.get(which, 0), count) for which, count in now.counts.items()}
    counts |= {which: (count, 0) for which, count in card.counts.items() if which not in counts}
    others = tuple(
        f"its data have changed: {after} images in {which}, where the run began with {before}"
        for which, (before, after) in counts.items()
        if before != after
    )
    return others or tuple(
        f"its data have changed: the images in {which} have other labels, or another order, than when "
        "the run began"
        for which, digest in card.labels_sha256.items()
        if digest != now.labels_sha256.get(which)
    )


def check_unchanged(folder: RunFolder, dataset: ImageDataset) -> None:
    """Raise ConfigError if a run to resume finds other images or labels than it began with.

    Its batches would be others, and so the run another one.
    """
    for changed in changes(folder, dataset):
        raise ConfigError(f"--resume {folder.given}: {changed}; put them back, or start a new run")
