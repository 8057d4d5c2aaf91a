"""The axes of a study's space, each ``{KIND: content}`` in its file. Imports neither torch nor ray."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, Strict

from cohort.errors import ConfigError

Number = Annotated[float, Strict()]
Whole = Annotated[int, Strict()]


@dataclass(frozen=True)
class Grid:
    """Each of some values of a config key."""

    values: tuple[Any, ...]
    kind: Literal["grid"] = "grid"

    def __post_init__(self) -> None:
        _check_values(self.values)


@dataclass(frozen=True)
class Choice:
    """One of some values, all as likely."""

    values: tuple[Any, ...]
    kind: Literal["choice"] = "choice"

    def __post_init__(self) -> None:
        _check_values(self.values)


@dataclass(frozen=True)
class Uniform:
    """A number from ``low`` to ``high``."""

    low: Number
    high: Number
    kind: Literal["uniform"] = "uniform"

    def __post_init__(self) -> None:
        _check_interval(self.low, self.high)


@dataclass(frozen=True)
class LogUniform:
    """A number from ``low`` to ``high`` of which the logarithm is uniform."""

    low: Number
    high: Number
    kind: Literal["loguniform"] = "loguniform"

    def __post_init__(self) -> None:
        _check_interval(self.low, self.high)
        if self.low <= 0:
            raise ConfigError(f"is [{self.low:g}, {self.high:g}]; both must be greater than 0")


@dataclass(frozen=True)
class RandInt:
    """A whole number from ``low`` to below ``high``."""

    low: Whole
    high: Whole
    kind: Literal["randint"] = "randint"

    def __post_init__(self) -> None:
        _check_interval(self.low, self.high)


@dataclass(frozen=True)
class Zip:
    """Lists of equal length, by config key, of which the values at one place go together."""

    lists: Mapping[str, tuple[Any, ...]]
    kind: Literal["zip"] = "zip"

    def __post_init__(self) -> None:
        if not self.lists:
            raise ConfigError("is {}; it must hold lists of equal length by their keys")
        lengths = {key: len(values) for key, values in self.lists.items()}
        if len(set(lengths.values())) > 1:
            written = ", ".join(f"{key} has {length}" for key, length in lengths.items())
            raise ConfigError(f"must hold lists of equal length, but {written}")
        rows = list(zip(*self.lists.values(), strict=True))
        _check_values([list(row) for row in rows])


@dataclass(frozen=True)
class Cases:
    """Config keys, and ``command``, that go together, by the case's name."""

    cases: Mapping[str, Mapping[str, Any]]
    kind: Literal["cases"] = "cases"

    def __post_init__(self) -> None:
        if not self.cases:
            raise ConfigError("is {}; it must hold at least one case by its name")


Axis = Grid | Choice | Uniform | LogUniform | RandInt | Zip | Cases
Drawn = Choice | Uniform | LogUniform | RandInt
"""Axes that have no list of points: a search draws them."""


def read_axis(value: Any) -> dict[str, Any]:
    """The fields of an axis, ``kind`` among them, from ``{KIND: content}``."""
    if not isinstance(value, dict):
        raise ConfigError(f"is {value!r}; it must hold keys and values")
    kinds = {cls.kind: cls for cls in get_args(Axis)}
    if len(value) != 1:
        raise ConfigError(f"is {value}; it must have one key of {', '.join(kinds)}")
    ((kind, content),) = value.items()
    names = _content(kinds[kind]) if kind in kinds else []
    if len(names) < 2:
        return {"kind": kind, **dict.fromkeys(names, content)}
    if not isinstance(content, list) or len(content) != len(names):
        raise ConfigError(f"{kind} is {content!r}; it must be two numbers, [low, high]")
    return {"kind": kind, **dict(zip(names, content, strict=True))}


def written_axis(axis: Axis) -> dict[str, Any]:
    """``{KIND: content}``, from which ``read_axis`` reads the same."""
    content = [getattr(axis, name) for name in _content(type(axis))]
    return {axis.kind: content[0] if len(content) == 1 else content}


InFile = Annotated[Axis, Field(discriminator="kind"), BeforeValidator(read_axis)]
"""An axis as pydantic reads it from the file of a study."""


def keys_of(name: str, axis: Axis) -> tuple[str, ...]:
    """The config keys, and maybe ``command``, that an axis sets."""
    if isinstance(axis, Zip):
        return tuple(axis.lists)
    if isinstance(axis, Cases):
        return tuple(dict.fromkeys(key for case in axis.cases.values() for key in case))
    return (name,)


def is_drawn(axis: Axis) -> bool:
    """Whether a search draws the axis' values."""
    return isinstance(axis, Drawn)


def extremes(axis: Axis) -> tuple[Any, ...]:
    """The values of a drawn axis at which a config may go wrong: all choices, or both bounds."""
    match axis:
        case Choice(values):
            return values
        case RandInt(low, high):
            return (low, high - 1)
        case Uniform(low, high) | LogUniform(low, high):
            return (low, high)
    raise AssertionError(f"{axis} is listed, not drawn")


def _content(cls: type[Axis]) -> list[str]:
    return [field.name for field in fields(cls) if field.name != "kind"]


def _check_values(values: Sequence[Any]) -> None:
    if not values:
        raise ConfigError("is []; it must hold at least one value")
    for place, value in enumerate(values):
        if isinstance(value, Mapping):
            raise ConfigError(f"has {value}, which is no value; keys that go together are cases")
        if value in values[:place]:
            raise ConfigError(f"has {value!r} twice")


def _check_interval(low: float, high: float) -> None:
    if not low < high:
        raise ConfigError(f"is [{low:g}, {high:g}]; it must be two numbers, the lower one first")
