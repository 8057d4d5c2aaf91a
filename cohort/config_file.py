"""YAML to config and back. Unknown and mistyped keys are refused by name."""

import dataclasses
import functools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from cohort import formats
from cohort.config import RunConfig
from cohort.errors import ConfigError, brief, did_you_mean
from cohort.imports import written_name
from cohort.invocation import command_line
from cohort.models.spec import WithExits, WithMembers
from cohort.trust import TRUST, refuse_keys

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")
Run = TypeVar("Run", bound=RunConfig)
ONLY = {"k": "train", "exits": "self-distill", "teachers": "ods-distill"}
"""A key that only one of the commands has."""


class TwiceError(yaml.YAMLError):
    """A key stands twice among the same keys; the message names it and both lines."""


class OnceEach(yaml.SafeLoader):
    """YAML as its standard has it: among the same keys each stands once, or which value counts?"""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The keys and values as they stand in the file. Raises TwiceError."""
        node = super().compose_mapping_node(anchor)
        seen: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):  # which no dictionary takes
                continue
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in seen:
                raise TwiceError(
                    f"key {key.value!r} stands in line {seen[name]} and in line {line}; leave one of "
                    "them out"
                )
            seen[name] = line
        return node


def read_config(path: str | Path) -> dict[str, Any]:
    """The keys and values of a YAML file, for ``validate`` to check.

    Whether code that it names may be run is asked where it is used. Raises ConfigError for a file that
    says so itself.
    """
    values = read_keys(path, f"--config {path}", formats.CONFIG)
    if TRUST in values:
        raise ConfigError(
            f"{path}: key {TRUST!r} cannot stand in a file, of which the user says whether he trusts it, "
            "by --trust-code"
        )
    return values


def read_keys(path: str | Path, named: str, version: int) -> dict[str, Any]:
    """The keys and values of any YAML file but its format, which may be up to ``version``.

    ``named`` is how the user named a file that cannot be read.
    """
    try:
        values = yaml.load(Path(path).read_bytes(), OnceEach) or {}  # as UTF-8, whatever the locale
        json.dumps(values, default=str, skipkeys=True)  # which refuses what is part of itself
    except OSError as error:
        raise ConfigError(f"{named} cannot be read: {error.strerror}") from error
    except TwiceError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold keys and values, not a {type(values).__name__}")
    formats.check_format(values, version, path)
    values.pop(formats.KEY, None)
    return values


def load_config(path: str | Path, cls: type[Run], given: Mapping[str, Any] | None = None) -> Run:
    """A config from a YAML file.

    Raises ConfigError for code that it names, unless that is trusted: ``given`` are the keys that
    the caller gives himself instead, ``trust_code`` among them if he says it.
    """
    values = cls.of_earlier(read_config(path), path)
    refuse_keys(values, path, given or {})
    return validate(values, cls, {}, path)


def validate(
    values: Mapping[str, Any], cls: type[Config], flags: Mapping[str, str], file: str | Path | None
) -> Config:
    """A config from plain values; ``flags`` names the keys that came from the command line."""
    _check_command(values, cls, file)
    try:
        return from_values(cls, values)
    except ValidationError as error:
        raise ConfigError(_sentence(error.errors()[0], cls, flags, file)) from error


def from_values(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """A config or a section of one from plain values. Raises pydantic's ValidationError."""
    config: Config = _reader(cls).validate_python(dict(values))
    return config


@functools.cache
def _reader(cls: type[Any]) -> TypeAdapter[Any]:
    # To make one takes far longer than to read with it.
    return TypeAdapter(cls)


def to_yaml(config: RunConfig) -> str:
    """The YAML text of a config: ``--config`` on it repeats the run.

    A factory of one's own is written as ``package.module:function``; one that cannot be imported
    again, such as a lambda, as its name in angle brackets, which ``--config`` refuses.
    """
    return yaml.safe_dump({formats.KEY: formats.CONFIG, **plain_values(config)}, sort_keys=False)


def plain_values(config: RunConfig) -> dict[str, Any]:
    """The keys and values of a config as they stand in YAML."""
    names = [name for name in names_of(type(config)) if name != TRUST]
    return {name: plain(getattr(config, name)) for name in names}


def sealed(config: RunConfig) -> dict[str, Any]:
    """The keys and values that a run keeps as it began with them, for its weights depend on them."""
    free = (*config.EXTENDABLE, "run_dir")
    return {key: value for key, value in plain_values(config).items() if key not in free}


def plain(value: Any) -> Any:
    """A value as it stands in YAML: a network that is no string by its name, a tuple as a list."""
    if callable(value) or isinstance(value, WithExits | WithMembers):
        return written_name(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def _check_command(
    values: Mapping[str, Any], cls: type["DataclassInstance"], file: str | Path | None
) -> None:
    """Raise ConfigError for the file of another command."""
    known = names_of(cls)
    for key, command in ONLY.items():
        if key in values and key not in known:
            raise ConfigError(
                f"{file} is for {command_line(command)}, which alone has the key {key!r}; use that"
            )


def _sentence(
    error: Any, cls: type["DataclassInstance"], flags: Mapping[str, str], file: str | Path | None
) -> str:
    if original := error.get("ctx", {}).get("error"):
        from_flag = str(original).split()[0] in flags.values()  # it begins with the key's flag
        return f"{file}: {original}" if file and not from_flag else str(original)
    key = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "unexpected_keyword_argument":
        return f"{file}: unknown key {key!r}{closest(key, names_of(cls))}"
    where = flags.get(key) or f"{file}: key {'.'.join(str(part) for part in error['loc'][:1])!r}"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{where} is {brief(error['input'])}: {message}"


def names_of(cls: type["DataclassInstance"]) -> list[str]:
    """The keys of a config class."""
    return [field.name for field in dataclasses.fields(cls)]


def closest(key: str, names: Sequence[str]) -> str:
    """The end of a sentence about a key that is none of ``names``: which was meant, or all of them."""
    return f"; {did_you_mean(key, names) or 'the keys are ' + ', '.join(names)}"
