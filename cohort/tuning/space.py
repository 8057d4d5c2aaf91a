"""The axes of a study's space, and the points that they span. Imports neither torch nor ray."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from cohort.errors import ConfigError


@dataclass(frozen=True)
class Grid:
    """Each of some values of a config key."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        _check_values(self.values)


@dataclass(frozen=True)
class Choice:
    """One of some values, all as likely."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        _check_values(self.values)


@dataclass(frozen=True)
class Uniform:
    """A number from ``low`` to ``high``."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_interval(self.low, self.high)


@dataclass(frozen=True)
class LogUniform:
    """A number from ``low`` to ``high`` of which the logarithm is uniform."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_interval(self.low, self.high)
        if self.low <= 0:
            raise ConfigError(f"is [{self.low}, {self.high}]; both must be greater than 0")


@dataclass(frozen=True)
class RandInt:
    """A whole number from ``low`` to below ``high``."""

    low: int
    high: int

    def __post_init__(self) -> None:
        _check_interval(self.low, self.high)


@dataclass(frozen=True)
class Zip:
    """Lists of equal length, by config key, of which the values at one place go together."""

    lists: Mapping[str, tuple[Any, ...]]

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

    def __post_init__(self) -> None:
        if not self.cases:
            raise ConfigError("is {}; it must hold at least one case by its name")


Axis = Grid | Choice | Uniform | LogUniform | RandInt | Zip | Cases
Drawn = Choice | Uniform | LogUniform | RandInt
"""Axes that have no list of points: a search draws them."""


@dataclass(frozen=True)
class Point:
    """One setting of the space."""

    labels: Mapping[str, Any]
    """Axis name (or zipped key) to the value, or to the case's name: what tables and figures call
    it. A list is written with commas."""
    values: Mapping[str, Any]
    """Config keys, and ``command`` if a case sets it."""


def labels_of(space: Mapping[str, Axis]) -> dict[str, tuple[Any, ...] | None]:
    """The labels that points have, with all that they can be; None if that is an interval.

    Example:
        >>> labels_of({"k": Grid((1, 2)), "lr": Uniform(0.1, 0.2)})
        {'k': (1, 2), 'lr': None}
    """
    found: dict[str, tuple[Any, ...] | None] = {}
    for name, axis in space.items():
        if isinstance(axis, Zip):
            found |= {key: tuple(map(label, values)) for key, values in axis.lists.items()}
        elif isinstance(axis, Cases):
            found[name] = tuple(axis.cases)
        else:
            found[name] = tuple(map(label, axis.values)) if isinstance(axis, _Listed) else None
    return found


def keys_of(name: str, axis: Axis) -> tuple[str, ...]:
    """The config keys, and maybe ``command``, that an axis sets."""
    if isinstance(axis, Zip):
        return tuple(axis.lists)
    if isinstance(axis, Cases):
        return tuple(dict.fromkeys(key for case in axis.cases.values() for key in case))
    return (name,)


def label(value: Any) -> Any:
    """How a value is called in tables: itself, a list with commas between its items."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def spanned(
    space: Mapping[str, Axis], draws: Sequence[Mapping[str, Any]] = ({},)
) -> Iterable[Point]:
    """The points of grid, zip and cases axes, each with every draw of the others, in order."""
    listed = {name: _settings(name, axis) for name, axis in space.items() if not is_drawn(axis)}
    for chosen in product(*listed.values()):
        for draw in draws:
            drawn = {name: Point({name: label(v)}, {name: v}) for name, v in draw.items()}
            parts = dict(zip(listed, chosen, strict=True)) | drawn
            yield _together([parts[name] for name in space])


def draw(space: Mapping[str, Axis], seed: int, index: int) -> dict[str, Any]:
    """A value for each drawn axis: a function of its name and bounds, the seed and the index."""
    return {
        # The name is in the seed, so that an axis more or less leaves the others' values alone.
        name: _drawn(axis, np.random.default_rng([seed, index, *name.encode()]))
        for name, axis in space.items()
        if isinstance(axis, Drawn)
    }


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


def is_drawn(axis: Axis) -> bool:
    """Whether a search draws the axis' values."""
    return isinstance(axis, Drawn)


_Listed = Grid | Choice


def _drawn(axis: Drawn, rng: np.random.Generator) -> Any:
    match axis:
        case Choice(values):
            return values[rng.integers(len(values))]
        case RandInt(low, high):
            return int(rng.integers(low, high))
        case Uniform(low, high):
            return float(rng.uniform(low, high))
        case LogUniform(low, high):
            drawn = math.exp(rng.uniform(math.log(low), math.log(high)))
            return min(max(drawn, low), high)  # exp and log may round past a bound


def _settings(name: str, axis: Axis) -> list[Point]:
    """The points of an axis alone."""
    match axis:
        case Grid(values):
            return [Point({name: label(value)}, {name: value}) for value in values]
        case Zip(lists):
            rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
            return [Point({key: label(v) for key, v in row.items()}, row) for row in rows]
        case Cases(cases):
            return [Point({name: case}, keys) for case, keys in cases.items()]
        case _:
            raise AssertionError(f"{name} is drawn, not listed")


def _together(parts: Iterable[Point]) -> Point:
    labels: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for part in parts:
        labels |= part.labels
        values |= part.values
    return Point(labels, values)


def _check_values(values: Sequence[Any]) -> None:
    if not values:
        raise ConfigError("is []; it must hold at least one value")
    for place, value in enumerate(values):
        if isinstance(value, Mapping):
            raise ConfigError(f"has {value}, which is no value; keys that go together are cases")
        if value in values[:place]:
            raise ConfigError(f"has {value!r} twice")


def _check_interval(low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"is [{low}, {high}]; it must be two numbers, the lower one first")
