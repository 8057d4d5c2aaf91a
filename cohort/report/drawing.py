"""Figures of a page: curves with a band, the course of a run, bars of time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from cohort.analysis.drawing import MARKERS, RUNS
from cohort.report.panels import Panel, Series

WIDTH, HEIGHT = 4.4, 2.9
"""Inches of a panel, which on a telephone is as wide as the window."""
DASHES = ("-", "--", "-.", ":")
MARKED = 8
"""Markers on a line, so that it can be told apart without colours."""
LONGEST = 44
"""Characters of a name in a figure."""
EACH_LETTER = 0.075
"""Inches that a letter of a legend takes."""


class Course(NamedTuple):
    """Where a run was at what time, and what happened."""

    minutes: Sequence[float]
    steps: Sequence[float]
    events: Sequence[tuple[float, float]]
    """Minutes and steps of each event, numbered from 1 in the figure."""


@contextmanager
def styled() -> Iterator[None]:
    """Figures made inside take names as they are and text as text, and look alike."""
    with mpl.rc_context(
        {
            "text.parse_math": False,  # a name may have dollars
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#808080",
            "grid.alpha": 0.25,
            "legend.frameon": False,
            "legend.fontsize": 8,
        }
    ):
        yield


def draw_panel(panel: Panel) -> Figure:
    """The mean of each series over its lines, with their band, and faintly these themselves."""
    labels = [shortened(series.label) for series in panel.series]
    columns, rows = _legend_size(labels)
    figure = Figure(figsize=(WIDTH, HEIGHT + 0.19 * rows), layout="constrained")
    axes = figure.subplots()
    handles = [_draw(axes, series) for series in panel.series]
    axes.set(xlabel="epoch", ylabel=shortened(panel.axis))
    axes.margins(x=0.02)
    axes.set_xlim(left=0)
    if any(labels):
        figure.legend(handles, labels, loc="outside upper left", ncols=columns, borderaxespad=0)
    return figure


def draw_course(course: Course) -> Figure:
    """Steps over minutes, with a numbered mark for each event."""
    figure = Figure(figsize=(1.4 * WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    axes.plot(course.minutes, course.steps, color=RUNS[0])
    for number, group in enumerate(_apart(course), start=1):
        minute, step = group[0][1]
        axes.axvline(minute, color=RUNS[1], linestyle=":", linewidth=1)
        axes.plot([minute], [step], marker="o", color=RUNS[1], markersize=4, linestyle="none")
        label = str(group[0][0]) if len(group) == 1 else f"{group[0][0]}–{group[-1][0]}"
        axes.annotate(
            label,
            (minute, 1),
            xycoords=("data", "axes fraction"),
            xytext=(2, -2 - 10 * (number % 3)),
            textcoords="offset points",
            va="top",
            fontsize="small",
        )
    axes.set(xlabel="minutes since the run began", ylabel="step")
    return figure


def without_formulas(figure: Figure) -> Figure:
    """Numbers at logarithmic axes as text: of powers as formulas, ``styled`` would show the dollars."""
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if axis.get_scale() == "log":
            axis.set_major_formatter(LogFormatter())
            axis.set_minor_formatter(LogFormatter())
    return figure


def shortened(name: str) -> str:
    """A name with room for it, in letters that files of figures may have.

    matplotlib would hide one that begins with an underscore.
    """
    text = "".join(letter if letter.isprintable() else " " for letter in name[: LONGEST + 1])
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return f" {text}" if text.startswith("_") else text


def _draw(axes: Axes, series: Series) -> Line2D:
    lines, number = series.lines, series.number
    colour, dash = RUNS[number % len(RUNS)], DASHES[number % len(DASHES)]
    x = lines.epochs_T
    if len(lines.names) > 1:
        low_T, high_T = lines.band
        axes.fill_between(x, low_T, high_T, color=colour, alpha=0.15, linewidth=0)
        for line_T in lines.shown:
            axes.plot(x, line_T, color=colour, linewidth=0.5, alpha=0.5)
    finite_T = np.where(np.isfinite(lines.mean), lines.mean, np.nan)
    every = max(1, len(x) // MARKED)
    (handle,) = axes.plot(
        x, finite_T, color=colour, linestyle=dash, linewidth=1.5, marker=MARKERS[number % len(MARKERS)],
        markersize=3.5, markevery=(number * every // 4 % every, every),
    )  # fmt: skip
    return handle


def _legend_size(labels: Sequence[str]) -> tuple[int, int]:
    """Columns and rows of a legend over the whole width."""
    if not any(labels):
        return 1, 0
    widest = 0.6 + EACH_LETTER * max(map(len, labels))
    columns = min(len(labels), max(1, int(WIDTH / widest)))
    return columns, -(-len(labels) // columns)


def _apart(course: Course) -> list[list[tuple[int, tuple[float, float]]]]:
    """Events with their numbers; those too close for two labels are together."""
    span = max(course.minutes, default=0.0) - min(course.minutes, default=0.0)
    groups: list[list[tuple[int, tuple[float, float]]]] = []
    for number, event in enumerate(course.events, start=1):
        if groups and event[0] - groups[-1][0][1][0] < 0.03 * span:
            groups[-1].append((number, event))
        else:
            groups.append([(number, event)])
    return groups
