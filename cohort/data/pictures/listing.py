"""Which files are pictures, and which folders are classes, in an order that never changes."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from cohort.data.dataset import Split
from cohort.data.pictures.files import PictureFiles
from cohort.data.pictures.frame import Frame
from cohort.data.pictures.viewer import pillow
from cohort.data.pictures.walking import hidden, refuse, walk
from cohort.errors import ConfigError

MOST_NAMES = 10
"""So many names stand in a sentence; of more, how many more there are."""
UNREADABLE = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""Formats that Pillow recognises, and leaves to other programs to read."""
LITTER = frozenset({"thumbs.db", "desktop.ini"})
"""What file managers leave behind: nobody misses it."""


@dataclass(frozen=True)
class Listing:
    """The pictures below a folder of classes."""

    directory: Path
    names: list[str] = field(default_factory=list)
    """Paths below ``directory``, class after class, and by folder and name within one."""
    labels: list[int] = field(default_factory=list)
    left_out: dict[str, Counter[str]] = field(default_factory=dict)
    """By class, how many files of each extension are no pictures."""
    links: list[str] = field(default_factory=list)
    """Paths below ``directory`` of links to folders that were read already, or led to the link."""

    def split(self, frame: Frame) -> Split:
        """The pictures and their labels."""
        files = PictureFiles.of(self.directory, self.names, frame)
        return Split(files, np.array(self.labels, np.int64))

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence each on the files and the links that were left out, if there are any."""
        return (*self._notes_on_files(), *self._notes_on_links())

    def _notes_on_files(self) -> tuple[str, ...]:
        if not self.left_out:
            return ()
        count = sum(sum(each.values()) for each in self.left_out.values())
        kinds = sum(self.left_out.values(), Counter[str]())
        by_class = [f"{name} {sum(each.values())}" for name, each in self.left_out.items()]
        were, whose = (
            ("file was", "extension is") if count == 1 else ("files were", "extensions are")
        )
        return (
            f"{self.directory}: {count} {were} left out whose {whose} none of a picture "
            f"({named(sorted(kinds))}), by class: {named(by_class)}",
        )

    def _notes_on_links(self) -> tuple[str, ...]:
        if not self.links:
            return ()
        links = "1 link was" if len(self.links) == 1 else f"{len(self.links)} links were"
        return (
            f"{self.directory}: {links} not followed, to folders whose pictures are read already: "
            f"{named(self.links)}",
        )


def list_pictures(directory: Path, classes: Sequence[str]) -> Listing:
    """All pictures in the folders of the classes, however deep; a label is a place in ``classes``.

    Raises ConfigError if a class has none.
    """
    listing = Listing(directory)
    for label, name in enumerate(classes):
        found, others = _below(directory, name, listing.links)
        listing.names.extend(found)
        listing.labels.extend([label] * len(found))
        if others:
            listing.left_out[name] = others
    check_none_empty(directory, classes, listing.labels, listing.notes)
    return listing


def check_none_empty(
    directory: Path, classes: Sequence[str], labels: Iterable[int], notes: Sequence[str] = ()
) -> None:
    """Raise ConfigError unless each class has a label; ``notes`` may say why it has not."""
    there = set(labels)
    if empty := [name for label, name in enumerate(classes) if label not in there]:
        raise ConfigError(
            f"{directory} holds no pictures of {'the class' if len(empty) == 1 else 'the classes'} "
            f"{named(empty)}{''.join(f'; {note}' for note in notes)}"
        )


def find_classes(directory: Path) -> list[str]:
    """Names of the class folders, sorted. Raises ConfigError if there are none."""
    folders = (name for name in _listed(directory) if (directory / name).is_dir())
    names = [name for name in folders if not hidden(name)]
    if not names:
        raise ConfigError(
            f"{directory} holds no class directories; it must have one for each class, with its pictures"
        )
    return sorted(names)


def pictures_in(directory: Path) -> list[str]:
    """Names of the pictures that lie in a folder itself, sorted."""
    names = (name for name in _listed(directory) if is_picture(name))
    return sorted(name for name in names if _is_a_file(f"{directory}/{name}"))


def is_picture(name: str) -> bool:
    """Whether a file of this name is one that Pillow reads."""
    return not hidden(name) and _extension(name) in _extensions()


def named(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are.

    Example:
        >>> named(["a", "b"])
        'a, b'
        >>> named([str(k) for k in range(12)])
        '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more'
    """
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def counts_note(
    name: str, found: Mapping[str, int], published: Mapping[str, int]
) -> tuple[str, ...]:
    """A sentence if there are other counts than a data set's authors have published."""
    wrong = [
        f"{found[what]} {what} instead of {count}"
        for what, count in published.items()
        if found[what] != count
    ]
    return (f"this is not the whole of {name}: it has {', '.join(wrong)}",) if wrong else ()


def _below(directory: Path, name: str, idle: list[str]) -> tuple[list[str], Counter[str]]:
    """The pictures of a class as paths below ``directory``, and the extensions of other files.

    Links that were not followed are added to ``idle``.
    """
    found, others, links = [], Counter[str](), list[Path]()
    folders = sorted(walk(directory / name, links))
    idle.extend(os.path.relpath(link, directory) for link in links)
    for folder, files in folders:
        place = os.path.relpath(folder, directory)
        for file in sorted(files):
            if is_picture(file) and not _is_a_file(f"{folder}/{file}"):
                others["a pipe or device"] += 1
            elif is_picture(file):
                found.append(f"{place}/{file}")
            elif not hidden(file) and file.lower() not in LITTER:
                others[_extension(file) or "none"] += 1
    return found, others


def _is_a_file(path: str) -> bool:
    """Whether it can be read to its end, as a pipe cannot; a link to nothing is told of later."""
    return os.path.isfile(path) or not os.path.exists(path)


def _listed(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError as error:
        refuse(error)


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


@cache
def _extensions() -> frozenset[str]:
    """Of the formats that Pillow itself reads; .mpo are JPEGs."""
    image = pillow()
    image.init()
    read = set(image.OPEN) - UNREADABLE | {"MPO"}
    return frozenset(end for end, kind in image.registered_extensions().items() if kind in read)
