"""The points that the axes of a study's space span. Imports neither torch nor ray."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from cohort.tuning.axes import (
    Axis,
    Cases,
    Choice,
    Drawn,
    Grid,
    LogUniform,
    RandInt,
    Uniform,
    Zip,
    is_drawn,
)


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
            found[name] = (
                tuple(map(label, axis.values)) if isinstance(axis, Grid | Choice) else None
            )
    return found


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
