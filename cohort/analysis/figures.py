"""The analyses as figures: each a pure function of the numbers, and one that saves it.

Figures are made without pyplot, so nothing global changes and no display is needed. Colours are
those of Okabe and Ito and, where more are needed, of Paul Tol: told apart by colour-blind readers.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cohort.analysis.early_exit_curve import CurvePoint
from cohort.analysis.flat_minima import NoisePoint
from cohort.analysis.separability import Scatter

RUNS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
CLASSES = (
    "#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE",
    "#882255", "#44AA99", "#999933", "#AA4499", "#777777",
)  # fmt: skip
MARKERS = "osD^vP*X<>"
DOTS_PER_INCH = 150


def noise_figure(curves: Mapping[str, Sequence[NoisePoint]], *, relative: bool = False) -> Figure:
    """Accuracy and loss against the strength of the noise; bands are one standard deviation."""
    figure, (left, right) = axes_grid(1, 2, width=8.5, height=3.4)
    for number, (run, points) in enumerate(curves.items()):
        points = sorted(points, key=lambda point: point.sigma)
        sigma = [point.sigma for point in points]
        percent = [(100 * p.accuracy_mean, 100 * p.accuracy_std) for p in points]
        _band(left, sigma, percent, run, number)
        _band(right, sigma, [(p.loss_mean, p.loss_std) for p in points], run, number)
    unit = " / root mean square of the layer" if relative else ""
    for axes, label in ((left, "accuracy / %"), (right, "cross-entropy / nat")):
        axes.set(xlabel=f"σ of the weight noise{unit}", ylabel=label)
    left.legend()
    return figure


def gradients_figure(rows: Mapping[str, Sequence[float]]) -> Figure:
    """Heat map of mean absolute gradients: a row per run and loss, a column per layer by depth.

    Rows may differ in length. Where there is no layer, or no gradient, the cell is grey.
    """
    longest = max(len(row) for row in rows.values())
    magnitudes = np.full((len(rows), longest), np.nan)
    for line, row in zip(magnitudes, rows.values(), strict=True):
        line[: len(row)] = row
    magnitudes[magnitudes == 0] = np.nan  # has no logarithm
    figure, (axes,) = axes_grid(1, 1, width=5 + 0.16 * longest, height=1.6 + 0.4 * len(rows))
    colours = mpl.colormaps["cividis"].with_extremes(bad="0.8")
    image = axes.imshow(np.log10(magnitudes), aspect="auto", cmap=colours, interpolation="nearest")
    axes.set_yticks(range(len(rows)), list(rows))
    step = 1 + longest // 30
    axes.set_xticks(range(0, longest, step), [str(n + 1) for n in range(0, longest, step)])
    axes.set_xlabel("layer, by depth")
    figure.colorbar(image, ax=axes, label="log₁₀ mean |∂L/∂w|")
    return figure


def scatter_figure(scatters: Sequence[Scatter], classes: Sequence[str]) -> Figure:
    """Each exit's features on their two principal axes, coloured by class."""
    figure, panels = axes_grid(1, len(scatters), width=3.2 * len(scatters) + 1.2, height=3.4)
    for exit, (axes, scatter) in enumerate(zip(panels, scatters, strict=True), start=1):
        for number, label in enumerate(sorted(set(scatter.labels_N.tolist()))):
            x, y = scatter.coordinates_N2[scatter.labels_N == label].T.numpy()
            axes.scatter(
                x,
                y,
                s=9,
                color=CLASSES[number % len(CLASSES)],
                marker=MARKERS[number % len(MARKERS)],
                linewidths=0,
                alpha=0.8,
                label=classes[label],
            )
        first, second = (f"{100 * share:.0f} % of variance" for share in scatter.explained)
        axes.set(title=f"exit {exit}", xlabel=f"axis 1 ({first})", ylabel=f"axis 2 ({second})")
    handles, labels = panels[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize="small", markerscale=2)
    return figure


def early_exit_figure(
    curves: Mapping[str, Sequence[CurvePoint]], fixed: Mapping[str, Sequence[tuple[float, float]]]
) -> Figure:
    """Accuracy against cost: a curve over thresholds per run, its fixed exits as numbered points.

    ``fixed`` holds (multiply-adds, accuracy) of each exit of a run, shallowest first.
    """
    figure, (axes,) = axes_grid(1, 1, width=5.5, height=4)
    for number, (run, points) in enumerate(curves.items()):
        colour = RUNS[number % len(RUNS)]
        points = sorted(points, key=lambda point: point.mean_multiply_adds)
        cost = [point.mean_multiply_adds / 1e6 for point in points]
        percent = [100 * point.accuracy for point in points]
        axes.plot(cost, percent, "-", marker=".", color=colour, label=f"{run}: by confidence")
        at = [(multiply_adds / 1e6, 100 * accuracy) for multiply_adds, accuracy in fixed[run]]
        axes.plot(
            *zip(*at, strict=True), "s", color=colour, mfc="none", label=f"{run}: fixed exits"
        )
        for exit, place in enumerate(at, start=1):
            axes.annotate(
                str(exit), place, xytext=(5, -9), textcoords="offset points", color=colour
            )
    axes.set(xlabel="mean multiply-adds per example / million", ylabel="accuracy / %")
    axes.legend()
    return figure


def save(figure: Figure, path: Path) -> list[Path]:
    """Write ``path``.svg and ``path``.png; the same figure gives the same bytes."""
    svg, png = (path.with_name(f"{path.name}.{suffix}") for suffix in ("svg", "png"))
    # The salt replaces random identifiers; a date would differ at every call.
    with mpl.rc_context({"svg.hashsalt": "cohort"}):
        figure.savefig(svg, metadata={"Date": None})
        figure.savefig(png, dpi=DOTS_PER_INCH)
    return [svg, png]


def axes_grid(rows: int, columns: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """An empty figure of this size in inches, and its panels, row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _band(
    axes: Axes, x: Sequence[float], values: Sequence[tuple[float, float]], label: str, number: int
) -> None:
    mean, std = np.array(values).T
    std = np.nan_to_num(std)  # a single draw has none
    colour = RUNS[number % len(RUNS)]
    marker = MARKERS[number % len(MARKERS)]
    axes.plot(x, mean, color=colour, marker=marker, markersize=4, label=label)
    axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.2, linewidth=0)
