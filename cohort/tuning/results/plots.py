"""Plots of numbers with seeds: lines, bars, heat maps. They know neither studies nor tables.

Accuracies and the like are fractions, shown in percent. Whiskers are standard errors over seeds.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from cohort.analysis.drawing import MARKERS, RUNS, axes_grid
from cohort.metrics.statistics import mean_and_error
from cohort.tuning.results.naming import by_kind, is_share, scale_of, value_text, with_unit, words

Cloud = Mapping[Any, Sequence[float]]
"""Measurements of the seeds, by what stands on the x axis: numbers, or anything else by its name."""
STYLES = ("-", "--", ":", "-.")
NOTE = "mean ± standard error, dots are seeds"
LETTER, WIDEST = 0.095, 12.0
"""Inches of a letter of a name, and of all names beside each other before they are slanted."""
PLACED_TICKS = 10
"""Up to so many numbers on the x axis have a tick each."""


def lines(
    data: Mapping[str, Mapping[str, Cloud]], *, x: str, dots: bool = False, log_x: bool = False
) -> Figure:
    """A panel per kind of measurement, in it a line per metric and series.

    Args:
        data: by metric and by the name of the series; empty names are left out of the legend.
        x: what the x axis is.
        dots: every measurement is a point of its own, and no line or mean is drawn.
        log_x: whether the x axis is logarithmic.
    """
    panels = by_kind(list(data))
    names = list(dict.fromkeys(name for series in data.values() for name in series))
    places = _places(at for series in data.values() for cloud in series.values() for at in cloud)
    figure, grid = axes_grid(1, len(panels), width=1 + 4.6 * len(panels), height=3.8)
    for axes, (label, metrics) in zip(grid, panels.items(), strict=True):
        for place, (metric, style) in enumerate(zip(metrics, cycle(STYLES), strict=False)):
            for name, cloud in data[metric].items():
                # Metrics of a series have its colour, and where there are no lines one each.
                number = names.index(name) + (place * len(names) if dots else 0)
                parts = [name, *([words(metric)] if len(metrics) > 1 else ())]
                legend = ": ".join(part for part in parts if part)
                placed = {places[at]: _scaled(cloud[at], metric) for at in cloud}
                _line(axes, placed, number, "" if dots else style, legend)
        axes.set(xlabel=x, ylabel=label, xscale="log" if log_x else "linear")
        _ticks(axes, places, everywhere=not (dots or log_x))
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize="small")
    return figure if dots else _noted(figure)


def bars(data: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """A panel per kind of measurement, in it a bar per point and metric, with its mean written.

    ``data`` has the measurements of the seeds by metric and by the name of the point.
    """
    panels = by_kind(list(data))
    points = list(dict.fromkeys(point for means in data.values() for point in means))
    most = max(len(metrics) for metrics in panels.values())
    names = [point.replace(", ", "\n") for point in points]
    longest = max(len(line) for name in names for line in name.splitlines() or [""])
    each = max(0.5 * most, LETTER * longest)
    level = each * len(points) <= WIDEST
    width = max(4.5, 1.2 + (each if level else 0.5 * most) * len(points), 0.8 + 2.3 * most)
    figure, grid = axes_grid(len(panels), 1, width=width, height=1 + 2.8 * len(panels))
    for axes, (label, metrics) in zip(grid, panels.items(), strict=True):
        for number, metric in enumerate(metrics):
            shift = (number - (len(metrics) - 1) / 2) * 0.8 / len(metrics)
            scaled = {
                points.index(point) + shift: _scaled(values, metric)
                for point, values in data[metric].items()
            }
            form = ".1f" if is_share(metric) else ".3g"
            _bars(axes, scaled, number, 0.8 / len(metrics), words(metric), form)
        axes.set(ylabel=label)
        axes.margins(y=0.12)  # for the numbers above the bars
        axes.set_xticks(range(len(points)), names)
        if not level:
            axes.tick_params(axis="x", labelrotation=30)
            for tick in axes.get_xticklabels():
                tick.set(ha="right", rotation_mode="anchor")
        if len(metrics) > 1:
            axes.legend(
                loc="lower left", bbox_to_anchor=(0, 1), ncols=len(metrics), fontsize="small"
            )  # above the bars
    return _noted(figure)


def heatmap(
    panels: Mapping[str, Mapping[tuple[Any, Any], float]], *, x: str, y: str, value: str
) -> Figure:
    """Cells with the metric ``value`` written in, one colour scale for all panels; grey is missing.

    ``panels`` has the measurements by the panel's title and by (x, y).
    """
    cells = [cell for panel in panels.values() for cell in panel]
    columns, rows = (list(_places(cell[axis] for cell in cells)) for axis in (0, 1))
    matrices = [_matrix(panel, columns, rows, scale_of(value)) for panel in panels.values()]
    norm = Normalize(np.nanmin(matrices), np.nanmax(matrices))
    width = 1.6 + len(panels) * (1.1 + 0.62 * len(columns))
    figure, grid = axes_grid(1, len(panels), width=width, height=1.6 + 0.5 * len(rows))
    colours = mpl.colormaps["cividis"].with_extremes(bad="0.8")
    for axes, title, matrix in zip(grid, panels, matrices, strict=True):
        image = axes.imshow(matrix, norm=norm, cmap=colours, aspect="auto", origin="lower")
        _write(axes, matrix, norm, ".1f" if is_share(value) else ".3g")
        axes.set_xticks(range(len(columns)), [value_text(at) for at in columns])
        axes.set_yticks(range(len(rows)), [value_text(at) for at in rows])
        axes.set(xlabel=x, ylabel=y, title=title)
    figure.colorbar(image, ax=grid, label=with_unit(value))
    return figure


def _line(
    axes: Axes, placed: Mapping[float, list[float]], number: int, style: str, label: str
) -> None:
    """A line through the means, with whiskers, and the seeds faintly; only they without a style."""
    colour, marker = RUNS[number % len(RUNS)], MARKERS[number % len(MARKERS)]
    at = sorted(place for place in placed if not np.isnan(placed[place]).all())
    if not at:
        return  # this series has no such measurement
    means = [mean_and_error(placed[place]) for place in at]
    if style:
        axes.errorbar(
            at, [mean.mean for mean in means], [mean.error for mean in means],
            color=colour, linestyle=style, marker=marker, markersize=4, capsize=3, label=label,
        )  # fmt: skip
    x = np.repeat(at, [len(placed[place]) for place in at])
    y = np.concatenate([placed[place] for place in at])
    faint = {"alpha": 0.3} if style else {"alpha": 0.8, "label": label}
    axes.scatter(x, y, s=12, color=colour, marker=marker, linewidths=0, **faint)


def _bars(
    axes: Axes,
    placed: Mapping[float, list[float]],
    number: int,
    width: float,
    label: str,
    form: str,
) -> None:
    """A bar for each mean, with its whisker and number, and the seeds beside the whisker."""
    means = [mean_and_error(values) for values in placed.values()]
    heights = [mean.mean for mean in means]
    axes.bar(list(placed), heights, width, color=RUNS[number % len(RUNS)], alpha=0.7, label=label)
    axes.errorbar(
        list(placed), heights, [mean.error for mean in means], fmt="none", color="black", capsize=3
    )
    for at, values, mean in zip(placed, placed.values(), means, strict=True):
        beside = np.full(len(values), at - width / 4)
        axes.scatter(beside, values, s=9, color="black", alpha=0.5, linewidths=0)
        if np.isfinite(mean.mean):
            top = max(np.nanmax(values), mean.mean + np.nan_to_num(mean.error))
            axes.annotate(
                format(mean.mean, form), (at, top), xytext=(0, 3), textcoords="offset points",
                ha="center", fontsize="small",
            )  # fmt: skip


def _scaled(values: Sequence[float], metric: str) -> list[float]:
    return [scale_of(metric) * value for value in values]


def _places(values: Iterable[Any]) -> dict[Any, float]:
    """Where each value stands on an axis: numbers, sorted, at themselves, all else in its order."""
    distinct = list(dict.fromkeys(values))
    if all(isinstance(at, int | float) and not isinstance(at, bool) for at in distinct):
        return {at: at for at in sorted(distinct)}
    return {at: place for place, at in enumerate(distinct)}


def _ticks(axes: Axes, places: Mapping[Any, float], *, everywhere: bool) -> None:
    numbers = all(at == place for at, place in places.items())
    if not numbers or (everywhere and len(places) <= PLACED_TICKS):
        axes.set_xticks(list(places.values()), [value_text(at) for at in places])


def _matrix(
    cells: Mapping[tuple[Any, Any], float],
    columns: Sequence[Any],
    rows: Sequence[Any],
    scale: float,
) -> np.ndarray:
    return np.array(
        [[scale * cells.get((column, row), np.nan) for column in columns] for row in rows]
    )


def _write(axes: Axes, matrix: np.ndarray, norm: Normalize, form: str) -> None:
    """Each cell's number, white on the dark half of the colours."""
    for (row, column), number in np.ndenumerate(matrix):
        if np.isfinite(number):
            colour = "white" if norm(number) < 0.5 else "black"
            axes.text(column, row, format(number, form), ha="center", va="center", color=colour)


def _noted(figure: Figure) -> Figure:
    figure.suptitle(NOTE, fontsize="small", color="0.4")
    return figure
