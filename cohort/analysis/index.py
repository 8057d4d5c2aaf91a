"""``index.json`` beside what analyses wrote: which there are, and what their figures show."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from cohort import formats
from cohort.cards import read_json
from cohort.errors import ConfigError
from cohort.files import atomic_write, to_json

INDEX = "index.json"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one analysis wrote."""

    title: str
    table: str
    """Name of the CSV."""
    figures: dict[str, str]
    """Caption of each figure, by its name: NAME.svg and NAME.png lie beside."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """The analyses of a folder, by name."""

    analyses: dict[str, Entry] = field(default_factory=dict)


_READER = TypeAdapter(Index)


def read_index(folder: Path) -> Index:
    """The index of a folder, which is empty if there is none. Raises ConfigError if it is damaged."""
    file = folder / INDEX
    try:
        return read_json(file, _READER, formats.ANALYSES, "analyses")
    except FileNotFoundError:
        return Index()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error


def add_to_index(folder: Path, entries: Mapping[str, Entry]) -> Path:
    """Write the index with these analyses in it, beside those that were there; returns its file."""
    known = {**read_index(folder).analyses, **entries}
    values = {formats.KEY: formats.ANALYSES, **asdict(Index(analyses=known))}
    atomic_write(folder / INDEX, to_json(values, indent=2) + "\n")
    return folder / INDEX
