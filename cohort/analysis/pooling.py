"""Means over students and over runs of other seeds, with the one rule by which all bands are made.

Where a group has several runs: of each the mean over its students, then mean ± standard error over the
runs. Where it has one: the mean over its students, and from the lowest to the highest of them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from cohort.analysis.groups import ALL, ENSEMBLE, Row
from cohort.metrics.statistics import mean_and_error

Key = tuple[Any, ...]


class Band(NamedTuple):
    """A mean, and the ends of its band: NaN where there is none, or where nothing was measured."""

    mean: float
    low: float
    high: float


def band(by_run: Mapping[str, Sequence[float]]) -> Band:
    """The band of a group, from the measurements of the students of each of its runs.

    What is NaN was not measured and has no say.

    Example:
        >>> band({"a": [1.0, 5.0]})
        Band(mean=3.0, low=1.0, high=5.0)
        >>> band({"a": [1.0, 5.0], "b": [5.0, 5.0]})
        Band(mean=4.0, low=3.0, high=5.0)
    """
    measured = [[v for v in values if not math.isnan(v)] for values in by_run.values()]
    means = [fmean(values) for values in measured if values]
    if not means:
        return Band(math.nan, math.nan, math.nan)
    if len(by_run) > 1:
        mean, error, _ = mean_and_error(means)
        return Band(mean, mean - error, mean + error)
    return Band(means[0], min(measured[0]), max(measured[0]))


def pooled(rows: Iterable[Row], value: str, *by: str) -> dict[Key, Band]:
    """The band of a column of rows for each combination of others, in the order in which they come.

    ``by`` begins with ``group``; a row has a ``run`` and a ``student`` besides.
    """
    rows = list(rows)
    runs = {group: list(dict.fromkeys(r["run"] for r in of)) for group, of in _groups(rows)}
    found: dict[Key, dict[str, list[float]]] = {}
    for row in rows:
        by_run = found.setdefault(
            tuple(row[name] for name in by), {run: [] for run in runs[row["group"]]}
        )
        by_run[row["run"]].append(math.nan if row[value] is None else row[value])
    return {key: band(by_run) for key, by_run in found.items()}


def curves(rows: Iterable[Row], value: str, *by: str) -> dict[Key, dict[Any, Band]]:
    """``pooled``, with the last of ``by``, what stands on the x axis, apart from the others."""
    found: dict[Key, dict[Any, Band]] = {}
    for (*line, x), at in pooled(rows, value, *by).items():
        found.setdefault(tuple(line), {})[x] = at
    return found


def band_note(rows: Iterable[Row], single: str = "no band") -> str:
    """One sentence on what the lines and bands of a figure of these rows are.

    ``single`` is the band of a group of one run and one student.

    Example:
        >>> one = [{"group": "a", "run": "a", "student": k} for k in range(2)]
        >>> band_note(one)
        'Mean of 2 students, band from the lowest to the highest.'
    """
    by_note: dict[str, list[str]] = {}
    for group, of in _groups(rows):
        by_note.setdefault(_note(of, single), []).append(group)
    if len(by_note) == 1:
        (note,) = by_note
        return f"{note[0].upper()}{note[1:]}."
    parts = [f"{', '.join(groups)}: {note}" for note, groups in by_note.items()]
    return f"{'; '.join(parts)}."


def is_single(rows: Iterable[Row]) -> bool:
    """Whether the rows of a group are of one run and one student, which have no band of the rule's."""
    return len({(row["run"], row["student"]) for row in rows}) == 1


def _note(rows: Sequence[Row], single: str) -> str:
    runs = len({row["run"] for row in rows})
    students = {row["student"] for row in rows}
    several = f"{len(students)} students" if len(students) > 1 else ""
    if runs > 1:
        of_each = f", of each the mean of its {several}" if several else ""
        return f"mean ± standard error over {runs} runs that differ in seed{of_each}"
    if several:
        return f"mean of {several}, band from the lowest to the highest"
    what = "run" if students <= {ALL, ENSEMBLE} else "student"
    return f"each line is one {what}, {single}"


def _groups(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["group"], []).append(row)
    return list(found.items())
