"""What every analysis of finished runs returns, and the examples it looks at."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from cohort.analysis.options import AnalyseOptions
from cohort.data.dataset import Split
from cohort.data.registry import subset

SEED = 0

Row = dict[str, Any]


class Outcome(NamedTuple):
    """Figures by name, of which each is written as SVG and PNG, and the rows of the CSV."""

    figures: Mapping[str, Figure]
    rows: list[Row]


def some(split: Split, options: AnalyseOptions) -> Split:
    """``--examples`` of a split, or all if it has fewer; the same ones for every run."""
    return subset(split, min(options.examples, len(split)), "examples", SEED)


def figure_name(analysis: str, run: str, runs: int) -> str:
    """Of a figure that shows one run: with the run's name if there are several."""
    return analysis if runs == 1 else f"{analysis}-{run}"
