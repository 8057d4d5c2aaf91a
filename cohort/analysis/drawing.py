"""What all figures share: colours and markers, panels, a line in them, and the files they become.

Figures are made without pyplot, so nothing global changes and no display is needed. Colours are
those of Okabe and Ito and, where more are needed, of Paul Tol: told apart by colour-blind readers.
"""

from collections.abc import Sequence
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
DOTS_PER_INCH = 150


def axes_grid(rows: int, columns: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """An empty figure of this size in inches, and its panels, row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def curve(axes: Axes, x: Sequence[float], y: Sequence[float], label: str, number: int) -> None:
    """A line with the colour and marker of its number; a gap where ``y`` is not finite."""
    finite = np.where(np.isfinite(y), y, np.nan)
    marker = MARKERS[number % len(MARKERS)]
    axes.plot(x, finite, color=RUNS[number % len(RUNS)], marker=marker, markersize=4, label=label)


def save(figure: Figure, path: Path) -> list[Path]:
    """Write ``path``.svg and ``path``.png; the same figure gives the same bytes."""
    svg, png = (path.with_name(f"{path.name}.{suffix}") for suffix in ("svg", "png"))
    # The salt replaces random identifiers; a date would differ at every call.
    with mpl.rc_context({"svg.hashsalt": "cohort"}):
        figure.savefig(svg, metadata={"Date": None})
        figure.savefig(png, dpi=DOTS_PER_INCH)
    return [svg, png]
