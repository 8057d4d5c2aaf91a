"""What every analysis of finished runs returns, and the examples it looks at."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from cohort.data.dataset import Split
from cohort.data.subset import subset
from cohort.run.finished import LoadedRun

SEED = 0
"""Decides which examples are looked at, and every random number of an analysis."""

Row = dict[str, Any]


class Findings(NamedTuple):
    """Figures by name, of which each is written as SVG and PNG, and the rows of the CSV."""

    figures: Mapping[str, Figure]
    rows: list[Row]


def by_run(
    analysis: str,
    runs: Sequence[LoadedRun],
    analyse: Callable[[LoadedRun], tuple[Figure, list[Row]]],
) -> Findings:
    """An analysis that draws each run by itself; a figure has its run's name if there are several."""
    figures: dict[str, Figure] = {}
    rows: list[Row] = []
    for run in runs:
        figure, found = analyse(run)
        figures[analysis if len(runs) == 1 else f"{analysis}-{run.name}"] = figure
        rows += found
    return Findings(figures, rows)


def sample(split: Split, examples: int) -> Split:
    """``examples`` of a split at random, or all if it has fewer; the same ones for every run."""
    return subset(split, min(examples, len(split)), "examples", SEED)
