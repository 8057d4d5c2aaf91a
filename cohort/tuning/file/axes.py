"""An axis as it stands in the file of a study."""

from typing import Any

from cohort.errors import ConfigError
from cohort.tuning.file.reading import Place, check_keys, listed, mapping
from cohort.tuning.space import (
    Axis,
    Cases,
    Choice,
    Grid,
    LogUniform,
    RandInt,
    Uniform,
    Zip,
)

KINDS: dict[str, type[Axis]] = {
    "grid": Grid,
    "choice": Choice,
    "uniform": Uniform,
    "loguniform": LogUniform,
    "randint": RandInt,
    "zip": Zip,
    "cases": Cases,
}


def read_axis(value: Any, place: Place) -> Axis:
    """An axis from ``{KIND: content}``."""
    value = mapping(value, place)
    check_keys(value, list(KINDS), place)
    if len(value) != 1:
        raise place.error(f"is {value}; it must have one key of {', '.join(KINDS)}")
    ((kind, content),) = value.items()
    place = place.at(kind)
    arguments = _arguments(kind, content, place)
    try:
        return KINDS[kind](*arguments)
    except ConfigError as error:
        raise place.error(str(error)) from error


def kind_of(axis: Axis) -> str:
    """The key of an axis in the file."""
    return next(kind for kind, cls in KINDS.items() if isinstance(axis, cls))


def written_axis(axis: Axis) -> dict[str, Any]:
    """What ``read_axis`` reads; tuples are left in it."""
    match axis:
        case Grid(content) | Choice(content) | Zip(content) | Cases(content):
            return {kind_of(axis): content}
        case Uniform(low, high) | LogUniform(low, high) | RandInt(low, high):
            return {kind_of(axis): (low, high)}


def _arguments(kind: str, content: Any, place: Place) -> tuple[Any, ...]:
    """The content of an axis, of the right shape."""
    if kind in ("grid", "choice"):
        return (listed(content, place),)
    if kind == "zip":
        lists = mapping(content, place)
        return ({key: listed(values, place.at(key)) for key, values in lists.items()},)
    if kind == "cases":
        cases = mapping(content, place)
        return ({name: mapping(keys, place.at(name)) for name, keys in cases.items()},)
    return _bounds(content, (int,) if kind == "randint" else (int, float), place)


def _bounds(content: Any, types: tuple[type, ...], place: Place) -> tuple[Any, ...]:
    good = isinstance(content, list) and len(content) == 2
    if not good or any(isinstance(n, bool) or not isinstance(n, types) for n in content):
        numbers = "two whole numbers" if types == (int,) else "two numbers"
        raise place.error(f"is {content!r}; it must be {numbers}, [low, high]")
    return tuple(content)
