"""Whether a network and a data set mean the same classes: by their names, not by their numbers."""

from collections.abc import Sequence

from cohort.data.dataset import ImageDataset
from cohort.errors import ConfigError

SHOWN = 4
"""Names of classes that a message has of each side."""


def in_order_of(
    dataset: ImageDataset, classes: tuple[str, ...], whose: str, learned: str | None = None
) -> ImageDataset:
    """The data set with labels as a network counts ``classes``.

    Raises ConfigError, naming those that differ, unless they are the data set's own in whatever order;
    ``whose`` they are begins the sentence, ``learned`` is the data set that the network learned.
    """
    ours, data = set(classes), set(dataset.classes)
    if ours == data and (classes == dataset.classes or _distinct(classes, dataset.classes)):
        return dataset.in_order_of(classes)
    parts = [
        *_part([name for name in classes if name not in data], "which the data have not"),
        *_part([name for name in dataset.classes if name not in ours], "only the data have"),
    ]
    differ = "; ".join(parts) or "a name stands for several of them"
    of = f" of {learned}" if learned else ""
    raise ConfigError(
        f"{whose} knows {len(classes)} classes{of}, and --dataset {dataset.name} has others: {differ}; "
        "give it pictures of the classes that it learned, by the same names"
    )


def _distinct(*lists: Sequence[str]) -> bool:
    return all(len(set(names)) == len(names) for names in lists)


def _part(names: Sequence[str], what: str) -> list[str]:
    """The first names and how many there are; nothing if there are none."""
    if not names:
        return []
    more = f", … ({len(names)} in all)" if len(names) > SHOWN else ""
    return [f"{', '.join(map(repr, names[:SHOWN]))}{more} {what}"]
