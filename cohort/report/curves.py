"""What runs measured over their epochs, as lines with a mean and a band.

Shapes: L lines, T points.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cohort.reporting.formatting import is_number
from cohort.reporting.records import Record

POINTS = 300
"""Of a line at most: more would not be seen, and make the page slow."""
Floats = npt.NDArray[np.float64]
Choice = Callable[[Record], Any]
"""The measurement that a line takes from a record; ``ABSENT`` where it has none."""
ABSENT = object()


@dataclass(frozen=True)
class Lines:
    """Lines over the same epochs, thinned; NaN where a number was not finite."""

    epochs_T: Floats
    values_LT: Floats
    there_LT: npt.NDArray[np.bool_]
    """Where a line has a point: others may have ended earlier."""
    names: tuple[str, ...]
    thinned: int
    """Records that each point is the mean of, at most."""

    @property
    def mean(self) -> Floats:
        """Over the lines that have a point there; NaN if one of them is not finite."""
        values_LT = np.where(self.there_LT, self.values_LT, 0.0)
        with np.errstate(over="ignore", invalid="ignore"):  # of losses gone astray
            mean_T: Floats = values_LT.sum(axis=0) / self.there_LT.sum(axis=0)
        return mean_T

    @property
    def band(self) -> tuple[Floats, Floats]:
        """The least and the greatest of the lines."""
        low_LT = np.where(self.there_LT, self.values_LT, np.inf)
        high_LT = np.where(self.there_LT, self.values_LT, -np.inf)
        return low_LT.min(axis=0), high_LT.max(axis=0)

    @property
    def shown(self) -> Floats:
        """Each line, NaN where it has no point."""
        return np.where(self.there_LT, self.values_LT, np.nan)


def measurement(key: str, scale: float = 1.0) -> Choice:
    """What a record has under a key, times ``scale``; null, which was not finite, as NaN."""

    def choose(record: Record) -> Any:
        return _number(record.get(key, ABSENT), scale)

    return choose


def part(name: str, key: str, number: int, scale: float = 1.0) -> Choice:
    """What a record has under a key for one of its ``exits`` or ``members``, counted from 0."""

    def choose(record: Record) -> Any:
        found = record.get(name)
        values = found.get(key) if isinstance(found, dict) else None
        if not isinstance(values, list) or number >= len(values):
            return ABSENT
        return _number(values[number], scale)

    return choose


def lines_of(
    records: Iterable[Record], choose: Choice, by: Callable[[Record], str]
) -> Lines | None:
    """A line for each of ``by``, over the steps that any has; None if nobody measured it."""
    found: dict[str, dict[float, Any]] = {}
    epochs: dict[float, float] = {}
    for record in records:
        value = choose(record)
        if value is not ABSENT:
            found.setdefault(by(record), {})[record["step"]] = value
            epochs[record["step"]] = record["epoch"]
    if not found:
        return None
    return _thinned(sorted(epochs), epochs, found)


def mean_lines(parts: Mapping[str, Lines]) -> Lines:
    """A line for each of several lines' means, such as a run's over its students, by name."""
    epochs_T = np.unique(np.concatenate([lines.epochs_T for lines in parts.values()]))
    values_LT = np.full((len(parts), len(epochs_T)), np.nan)
    there_LT = np.zeros(values_LT.shape, dtype=bool)
    for number, lines in enumerate(parts.values()):
        places = np.searchsorted(epochs_T, lines.epochs_T)
        values_LT[number, places] = lines.mean
        there_LT[number, places] = True
    thinned = max(lines.thinned for lines in parts.values())
    return Lines(epochs_T, values_LT, there_LT, tuple(parts), thinned)


def _thinned(
    steps: Sequence[float], epochs: Mapping[float, float], found: Mapping[str, Mapping[float, Any]]
) -> Lines:
    each = -(-len(steps) // POINTS)
    first = range(0, len(steps), each)
    every_LT = np.array([[line.get(step, 0.0) for step in steps] for line in found.values()])
    there_LT = np.array([[step in line for step in steps] for line in found.values()])
    counts_LT = np.add.reduceat(there_LT.astype(int), first, axis=1)
    with np.errstate(invalid="ignore", over="ignore"):  # a bin in which a line has no point
        values_LT = np.add.reduceat(every_LT, first, axis=1) / counts_LT
    epochs_T = np.array([epochs[step] for step in steps])
    ends = np.add.reduceat(epochs_T, first) / np.diff([*first, len(steps)])
    return Lines(ends, values_LT, counts_LT > 0, tuple(found), each)


def _number(value: Any, scale: float) -> Any:
    if value is None:
        return np.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ABSENT
    return scale * value if is_number(value) else np.nan
