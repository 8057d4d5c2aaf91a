"""From YAML to dataclasses: what is wrong is said with the file and the full key path."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from cohort.config_file import closest, from_values, names_of
from cohort.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Section = TypeVar("Section", bound="DataclassInstance")

SCIENTIFIC = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
"""Numbers such as 1e-3, which are strings to YAML."""


@dataclass(frozen=True)
class Place:
    """A key path in a file.

    Example:
        >>> str(Place("a.yaml").at("space", "k").error("is 0"))
        'a.yaml: space.k is 0'
    """

    file: str
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.file}: {'.'.join(self.path)}" if self.path else self.file

    def at(self, *keys: object) -> "Place":
        """The place of a key below."""
        return dataclasses.replace(self, path=(*self.path, *map(str, keys)))

    def error(self, sentence: str) -> ConfigError:
        """An error about the value here."""
        return ConfigError(f"{self} {sentence}")

    def below(self, sentence: str) -> ConfigError:
        """An error that begins with the name of a key below."""
        return ConfigError(f"{self.file}: {'.'.join([*self.path, sentence])}")

    def unknown(self, names: Sequence[str], of: str = "") -> ConfigError:
        """An error about the key here, which is none of ``names``."""
        path, key = ".".join(self.path), self.path[-1]
        return ConfigError(f"{self.file}: unknown key {path!r}{of}{closest(key, names)}")


def mapping(value: Any, place: Place) -> dict[str, Any]:
    """Keys and values. Raises ConfigError for anything else, and for a key that is not text."""
    if not isinstance(value, dict):
        raise place.error(f"is {value!r}; it must hold keys and values")
    for key in value:
        if not isinstance(key, str):
            raise place.error(f"has the key {key!r}, which is not text; put it in quotes")
    return value


def listed(value: Any, place: Place) -> tuple[Any, ...]:
    """The items of a list. Raises ConfigError for anything else."""
    if not isinstance(value, list):
        raise place.error(f"is {value!r}; it must be a list")
    return tuple(value)


def check_keys(values: Mapping[str, Any], names: Sequence[str], place: Place) -> None:
    """Raise ConfigError for a key that is none of ``names``."""
    for key in values:
        if key not in names:
            raise place.at(key).unknown(names)


def record(cls: type[Section], values: Mapping[str, Any], place: Place) -> Section:
    """A section from plain values and from sections below it that have been read."""
    check_keys(values, names_of(cls), place)
    try:
        return from_values(cls, values)
    except ValidationError as error:
        raise refusal(error, place) from error


def tagged(classes: Mapping[str, type[Section]], values: Any, place: Place) -> Section:
    """The section of the class that the key ``kind`` names."""
    values = mapping(values, place)
    kind = values.get("kind")
    if kind not in classes:
        said = f"is {kind!r}; it" if "kind" in values else "is missing; it"
        raise place.at("kind").error(f"{said} must be one of {', '.join(classes)}")
    return record(classes[kind], values, place)


def refusal(error: ValidationError, place: Place) -> ConfigError:
    """The first of pydantic's errors about a section as one sentence."""
    first = error.errors()[0]
    if original := first.get("ctx", {}).get("error"):
        return place.below(str(original))
    where = place.at(*first["loc"])
    if first["type"] == "missing":
        return where.error("is missing")
    if first["type"] == "tuple_type":
        return where.error(f"is {first['input']!r}; it must be a list")
    return where.error(f"is {first['input']!r}: {reason(error)}")


def reason(error: ValidationError) -> str:
    """What pydantic says of the first value that it refuses."""
    message = error.errors()[0]["msg"]
    return message[0].lower() + message[1:]


def with_numbers(value: Any) -> Any:
    """A document in which 1e-3 is a number, as people mean it."""
    if isinstance(value, dict):
        return {key: with_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_numbers(item) for item in value]
    return float(value) if isinstance(value, str) and SCIENTIFIC.fullmatch(value) else value
