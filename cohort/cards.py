"""JSON files that describe what lies beside them: read strictly, for they may come from anywhere."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from cohort import formats
from cohort.errors import ConfigError, brief

Card = TypeVar("Card")


def read_json(file: Path, reader: TypeAdapter[Card], version: int, what: str) -> Card:
    """A card of a format up to ``version``, whose values are checked by ``reader``.

    Raises OSError if the file cannot be read, and ConfigError, one sentence, if it does not describe
    ``what`` it should.
    """
    return _read(file, reader, version, what)[1]


def read_fields(file: Path, reader: TypeAdapter[Any], version: int, what: str) -> dict[str, Any]:
    """All keys and values, those included that ``reader`` knows nothing of; raises as ``read_json``."""
    return _read(file, reader, version, what)[0]


def _read(
    file: Path, reader: TypeAdapter[Card], version: int, what: str
) -> tuple[dict[str, Any], Card]:
    text = file.read_bytes()
    try:
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise ValueError("it must hold keys and values")
        formats.check_format(fields, version, file)
        return fields, reader.validate_json(text)
    except ConfigError:
        raise
    except ValidationError as error:
        raise ConfigError(f"{file} does not describe {what}: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file} does not describe {what}: {error}") from error


def reason(error: ValidationError) -> str:
    """The first thing that is wrong: the key, the value, and what is allowed."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if not key:
        return first["msg"]
    if first["type"] == "missing":
        return f"{key} is missing"
    return f"{key} is {brief(first['input'])}: {first['msg'][0].lower()}{first['msg'][1:]}"
