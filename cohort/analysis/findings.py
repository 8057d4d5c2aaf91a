"""What every analysis of finished runs returns, and the examples it looks at."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from cohort.analysis.drawing import note
from cohort.analysis.groups import Row, Subject
from cohort.analysis.pooling import band_note
from cohort.data.dataset import Split
from cohort.data.subset import subset

SEED = 0
"""Decides which examples are looked at, and every random number of an analysis."""


class Captioned(NamedTuple):
    """A figure, and what it shows, its bands included."""

    figure: Figure
    caption: str


class Findings(NamedTuple):
    """Figures by name, of which each is written as SVG and PNG, and the rows of the CSV."""

    figures: Mapping[str, Captioned]
    rows: list[Row]


def captioned(
    figure: Figure, shows: str, rows: Sequence[Row], *, single: str = "no band"
) -> Captioned:
    """A figure of pooled rows, which says itself what its bands are, and so does its caption."""
    bands = band_note(rows, single)
    note(figure, bands)
    return Captioned(figure, f"{shows} {bands}")


def by_group(
    analysis: str,
    subjects: Sequence[Subject],
    measure: Callable[[Subject], list[Row]],
    draw: Callable[[list[Row]], Captioned],
) -> Findings:
    """An analysis with a figure for each group, which has its group's name if there are several."""
    rows = [row for subject in subjects for row in measure(subject)]
    groups = list(dict.fromkeys(subject.group for subject in subjects))
    figures = {
        analysis if len(groups) == 1 else f"{analysis}-{group}": draw(
            [row for row in rows if row["group"] == group]
        )
        for group in groups
    }
    return Findings(figures, rows)


def sample(split: Split, examples: int) -> Split:
    """``examples`` of a split at random, or all if it has fewer; the same ones for every run."""
    return subset(split, min(examples, len(split)), "examples", SEED)
