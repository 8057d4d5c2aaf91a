"""What all figures share: colours and markers, panels, lines with bands, and the files they become.

Figures are made without pyplot, so nothing global changes and no display is needed. Colours are
those of Okabe and Ito and, where more are needed, of Paul Tol: told apart by colour-blind readers.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

RUNS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
CLASSES = (
    "#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE",
    "#882255", "#44AA99", "#999933", "#AA4499", "#777777",
)  # fmt: skip
MARKERS = "osD^vP*X<>"
STYLES = ("-", "--", ":", "-.")
DOTS_PER_INCH = 150
MOST_MARKED = 25
"""Points of a line that have a marker each; more would hide it."""
LETTERS = 13
"""Of the note under a figure, on an inch of its width."""
LONGEST_NAME = 30
"""Letters of a line in a legend."""


def axes_grid(rows: int, columns: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """An empty figure of this size in inches, and its panels, row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def curve(
    axes: Axes, x: Sequence[float], y: Sequence[float], label: str, number: int, style: str = "-"
) -> None:
    """A line with the colour and marker of its number; a gap where ``y`` is not finite."""
    finite = np.where(np.isfinite(y), y, np.nan)
    marker = MARKERS[number % len(MARKERS)] if len(x) <= MOST_MARKED else None
    axes.plot(x, finite, style, color=colour_of(number), marker=marker, markersize=4, label=label)


def banded(
    axes: Axes,
    points: Mapping[float, tuple[float, float, float]],
    label: str,
    number: int,
    *,
    scale: float = 1,
    style: str = "-",
) -> None:
    """A ``curve`` through means, by what stands on the x axis, in its band: (mean, low, high) each."""
    x = sorted(points)
    mean, low, high = scale * np.array([points[at] for at in x]).T
    curve(axes, x, mean.tolist(), label, number, style)
    fill(axes, x, low, high, number)


def fill(axes: Axes, x: Sequence[float], low: np.ndarray, high: np.ndarray, number: int) -> None:
    """A band in the colour of its number; none where an end is not finite."""
    drawn = np.isfinite(low) & np.isfinite(high)
    axes.fill_between(x, low, high, where=drawn, color=colour_of(number), alpha=0.2, linewidth=0)


def whiskers(mean: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray | None:
    """How far a band reaches to both sides [2, N], as matplotlib wants it; None if there is no band."""
    reach_2N = np.nan_to_num([mean - low, high - mean]).clip(min=0)  # but for rounding
    return reach_2N if reach_2N.any() else None


def colour_of(number: int) -> str:
    """The colour of a line by its number."""
    return RUNS[number % len(RUNS)]


def numbered(names: Iterable[str]) -> dict[str, int]:
    """Each distinct name with its number, in the order in which they come."""
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


def legend(figure: Figure, axes: Axes) -> None:
    """The names of a panel's lines beside all panels, where they cover nothing."""
    handles, labels = axes.get_legend_handles_labels()
    labels = [textwrap.fill(label, LONGEST_NAME) for label in labels]
    figure.legend(handles, labels, loc="outside right upper", fontsize="small")


def heat(figure: Figure, axes: Axes, matrix: Sequence[Sequence[float]], label: str) -> None:
    """A heat map with its scale, a tick for every column."""
    image = axes.imshow(np.array(matrix), aspect="auto", cmap="cividis", interpolation="nearest")
    axes.set_xticks(range(len(matrix[0])))
    figure.colorbar(image, ax=axes, label=label)


def note(figure: Figure, text: str) -> None:
    """A line of small print under the panels, where no legend is."""
    letters = int(LETTERS * figure.get_figwidth())
    figure.supxlabel(textwrap.fill(text, letters), fontsize="small", color="0.4")


def save(figure: Figure, path: Path) -> list[Path]:
    """Write ``path``.svg and ``path``.png; the same figure gives the same bytes."""
    svg, png = (path.with_name(f"{path.name}.{suffix}") for suffix in ("svg", "png"))
    # Text stays text. The salt replaces random identifiers.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cohort"}):
        figure.savefig(svg, metadata={"Date": None})  # which would differ at every call
        figure.savefig(png, dpi=DOTS_PER_INCH)
    return [svg, png]
