"""From YAML to dataclasses: what is wrong is said with the file and the full key path."""

import dataclasses
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from cohort.config import LARGEST
from cohort.config_file import closest, from_values, names_of
from cohort.errors import ConfigError, brief
from cohort.tuning.study import Study

SCIENTIFIC = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
"""Numbers such as 1e-3, which are strings to YAML."""
KEYS_AND_VALUES = "it must hold keys and values"
SAID = {
    "dict_type": KEYS_AND_VALUES,
    "mapping_type": KEYS_AND_VALUES,
    "dataclass_type": KEYS_AND_VALUES,
    "model_attributes_type": KEYS_AND_VALUES,
    "tuple_type": "it must be a list",
    "too_short": "it must hold at least one",
    "greater_than": "it must be greater than {gt:g}",
    "greater_than_equal": "it must be {ge:g} or greater",
}
"""What is said of pydantic's errors, but for those of which it speaks well itself."""


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

    def unknown(self, names: Sequence[str], of: str = "") -> ConfigError:
        """An error about the key here, which is none of ``names``."""
        path, key = ".".join(self.path), self.path[-1]
        return ConfigError(f"{self.file}: unknown key {path!r}{of}{closest(key, names)}")


def read_study(document: Mapping[str, Any], place: Place) -> Study:
    """The study without a look at how its parts fit together."""
    try:
        return from_values(Study, document)
    except ValidationError as error:
        raise _refusal(error, document, place) from error


def check_keys(values: Any, names: Sequence[str], place: Place) -> None:
    """Raise ConfigError unless these are keys and values, and all keys among ``names``."""
    if not isinstance(values, dict):
        raise place.error(f"is {brief(values)}; {KEYS_AND_VALUES}")
    for key in values:
        if key not in names:
            raise place.at(key).unknown(names)


def reason(error: ValidationError) -> str:
    """What pydantic says of the first value that it refuses."""
    message = error.errors()[0]["msg"]
    return message[0].lower() + message[1:]


def as_meant(value: Any, place: Place) -> Any:
    """A part of the document in which 1e-3 is a number.

    Raises ConfigError for a key that is not text, and for a whole number of more than 64 bits.
    """
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise place.error(f"has the key {brief(key)}, which is not text; put it in quotes")
        return {key: as_meant(item, place.at(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [as_meant(item, place.at(number)) for number, item in enumerate(value)]
    if isinstance(value, int) and abs(value) > LARGEST:
        raise place.error(f"is {brief(value)}; it must be from -{LARGEST} to {LARGEST}")
    return float(value) if isinstance(value, str) and SCIENTIFIC.fullmatch(value) else value


def _refusal(error: ValidationError, document: Mapping[str, Any], place: Place) -> ConfigError:
    """The first of pydantic's errors as one sentence."""
    first = error.errors()[0]
    kind, loc, value = first["type"], first["loc"], first["input"]
    here, where = _followed(document, loc, place)
    if kind == "value_error":
        # It begins with the key below that it is about, or with what is the matter here.
        sentence = str(first["ctx"]["error"])
        if sentence.startswith(("is ", "has ", "must ")):
            return where.error(sentence)
        return ConfigError(f"{where.file}: {'.'.join([*where.path, sentence])}")
    if kind == "unexpected_keyword_argument":
        return where.unknown(names_of(_annotated(loc[:-1])))
    if kind == "missing":
        return where.at(loc[-1]).error("is missing")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        kinds = [cls.kind for cls in typing.get_args(_annotated(loc)) if hasattr(cls, "kind")]
        if kind == "union_tag_invalid" and "kind" not in here:  # an axis, named by its key
            return where.at(first["ctx"]["tag"]).unknown(kinds)
        said = f"is {here['kind']!r}" if "kind" in here else "is missing"
        return where.at("kind").error(f"{said}; it must be one of {', '.join(kinds)}")
    if kind in SAID:
        return where.error(f"is {brief(value)}; {SAID[kind].format(**first.get('ctx', {}))}")
    return where.error(f"is {brief(value)}: {reason(error)}")


def _followed(value: Any, loc: Sequence[int | str], place: Place) -> tuple[Any, Place]:
    """What stands at pydantic's path, and where: without steps that the file does not have."""
    for step in loc:
        places = range(len(value)) if isinstance(value, list) else value
        if isinstance(value, dict | list) and step in places:
            value, place = value[step], place.at(step)  # type: ignore[index]
    return value, place


def _annotated(loc: Sequence[int | str]) -> Any:
    """The type at pydantic's path: a section's class, or the union of which it is one."""
    here: Any = Study
    for step in loc:
        if dataclasses.is_dataclass(here):
            here = typing.get_type_hints(here)[str(step)]
        elif typing.get_origin(here) is Mapping:
            here = typing.get_args(here)[1]
        else:
            here = next(cls for cls in typing.get_args(here) if cls.kind == step)
    return here
