"""Accuracy against cost where each image leaves at the first exit that is sure of it.

"Be Your Own Teacher" (ICCV 2019, arXiv 1905.08094), section 3.3. What is measured:
``cohort.analysis.early_exit``.
"""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cohort.analysis.cost import exit_costs
from cohort.analysis.drawing import axes_grid, colour_of, curve, fill, legend, numbered, whiskers
from cohort.analysis.early_exit import CurvePoint, early_exit_curve
from cohort.analysis.exits import report_exits
from cohort.analysis.findings import Findings, captioned, sample
from cohort.analysis.groups import Row, Subject
from cohort.analysis.options import AnalyseOptions
from cohort.analysis.pooling import Band, curves
from cohort.data.dataset import Split
from cohort.learning.evaluation import log_posteriors_over
from cohort.models.early_exit import MultiExitStudent

TITLE = "Early exits: accuracy against cost"
THRESHOLDS = (0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1)


def analyse(subjects: Sequence[Subject], options: AnalyseOptions, device: torch.device) -> Findings:
    """Test accuracy against cost, by threshold, and the fixed exits: a row for each of both.

    ``exit`` is that of a fixed one, ``threshold`` that of a point of the curve.
    """
    rows: list[Row] = []
    for subject in subjects:
        split = sample(subject.run.dataset.test, options.examples)
        for head, student in subject.students():
            if isinstance(student, MultiExitStudent):
                points = early_exit_curve(student, split, THRESHOLDS, device)
                rows += [head | _row(point) for point in points]
                rows += [head | row for row in _fixed(student, split, device)]
    shows = (
        "Accuracy on test images against the mean multiply-adds of an image. Line: each image leaves at "
        "the first exit whose confidence is at least a threshold, which rises from left to right; the band "
        "is of the accuracy at the same threshold. Squares: all images leave at the exit of that number."
    )
    return Findings({"early_exit": captioned(early_exit_figure(rows), shows, rows)}, rows)


def early_exit_figure(rows: Sequence[Row]) -> Figure:
    """Accuracy against cost, pooled: a curve over thresholds per group, its fixed exits as squares.

    ``rows`` have a ``threshold`` or an ``exit``, ``accuracy`` and ``mean_multiply_adds``.
    """
    figure, (axes,) = axes_grid(1, 1, width=7.5, height=4)
    numbers = numbered(row["group"] for row in rows)
    for by, draw in (("threshold", _draw_curve), ("exit", _draw_fixed)):
        of = [row for row in rows if row[by] is not None]
        accuracies, costs = (
            curves(of, value, "group", by) for value in ("accuracy", "mean_multiply_adds")
        )
        for (group,), points in accuracies.items():
            at = [(costs[(group,)][x].mean / 1e6, points[x]) for x in sorted(points)]
            draw(axes, at, group, numbers[group])
    axes.margins(0.08)  # for the numbers of the exits
    axes.set(xlabel="mean multiply-adds per example / million", ylabel="accuracy / %")
    legend(figure, axes)
    return figure


def _draw_curve(axes: Axes, at: Sequence[tuple[float, Band]], group: str, number: int) -> None:
    x = [cost for cost, _ in at]
    mean, low, high = 100 * np.array([accuracy for _, accuracy in at]).T
    curve(axes, x, mean.tolist(), f"{group}: by confidence", number)
    fill(axes, x, low, high, number)


def _draw_fixed(axes: Axes, at: Sequence[tuple[float, Band]], group: str, number: int) -> None:
    x = [cost for cost, _ in at]
    mean, low, high = 100 * np.array([accuracy for _, accuracy in at]).T
    colour = colour_of(number)
    axes.errorbar(
        x, mean, whiskers(mean, low, high), fmt="s", color=colour, mfc="none", markersize=9,
        capsize=3, label=f"{group}: fixed exits",
    )  # fmt: skip
    for exit, place in enumerate(zip(x, mean, strict=True), start=1):
        axes.annotate(str(exit), place, xytext=(8, -11), textcoords="offset points", color=colour)


def _row(point: CurvePoint) -> Row:
    shares = {f"share_exit_{e}": share for e, share in enumerate(point.share_per_exit, start=1)}
    return {
        "threshold": point.threshold,
        "exit": None,
        "accuracy": point.accuracy,
        "mean_multiply_adds": point.mean_multiply_adds,
        **shares,
    }


def _fixed(student: MultiExitStudent, split: Split, device: torch.device) -> list[Row]:
    posteriors = log_posteriors_over(student, split, device)
    report = report_exits(posteriors, torch.from_numpy(split.labels))
    _, channels, height, width = split.images.shape
    costs = exit_costs(student, (channels, height, width))
    return [
        {
            "threshold": None,
            "exit": cost.exit,
            "accuracy": measured["accuracy"],
            "mean_multiply_adds": cost.multiply_adds,
        }
        for cost, measured in zip(costs, report.exits, strict=True)
    ]
