"""What exits do to a network, as the discussion of the paper on self-distillation shows it.

"Be Your Own Teacher" (ICCV 2019, arXiv 1905.08094): the gradients that reach each layer and the
separability of each exit's features (section 5), and the accuracy of early exits against their
cost (section 3.3). Its third point, flat minima, is ``cohort.analysis.weight_noise``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from cohort.analysis.cost import exit_costs
from cohort.analysis.drawing import CLASSES, MARKERS, RUNS, axes_grid
from cohort.analysis.early_exit import CurvePoint, early_exit_curve
from cohort.analysis.exits import report_exits
from cohort.analysis.findings import Findings, Row, by_run, sample
from cohort.analysis.gradients import (
    Loss,
    backbone_of,
    gradient_magnitudes,
    losses_of,
    training_batches,
)
from cohort.analysis.options import AnalyseOptions
from cohort.analysis.separability import Scatter, features_over, pca_scatter, separability
from cohort.learning.evaluation import log_posteriors_over
from cohort.models.early_exit import MultiExitStudent
from cohort.run.finished import LoadedRun

THRESHOLDS = (0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1)


def analyse_gradients(
    runs: Sequence[LoadedRun], options: AnalyseOptions, device: torch.device
) -> Findings:
    """Mean absolute gradient per layer; of a student with exits by what they learn from.

    The heat map has the layers on the way to the last exit, by depth, so that a network with exits
    stands above the same network without; the table has all layers.
    """
    rows = [
        row
        for run in runs
        for title, loss in losses_of(run.student).items()
        for row in _gradient_rows(run, title, loss, options, device)
    ]
    heat: dict[str, list[float]] = {}
    for row in rows:
        if row["depth"] is not None:
            heat.setdefault(f"{row['run']}: {row['loss']}", []).append(row["mean_abs_gradient"])
    return Findings({"gradients": gradients_figure(heat)}, rows)


def analyse_separability(
    runs: Sequence[LoadedRun], options: AnalyseOptions, device: torch.device
) -> Findings:
    """Sums of squares, and a scatter per run, of the test examples' features at every exit."""

    def analyse(run: LoadedRun) -> tuple[Figure, list[Row]]:
        student, split = _with_exits(run.student), sample(run.dataset.test, options.examples)
        labels_N = torch.from_numpy(split.labels)
        features = features_over(student, split, device)
        places = (*student.network.places, "end")
        rows = [
            {"run": run.name, "exit": exit, "place": place}
            | asdict(separability(features_NF, labels_N))
            for exit, (place, features_NF) in enumerate(zip(places, features, strict=True), start=1)
        ]
        scatters = [pca_scatter(features_NF, labels_N) for features_NF in features]
        return scatter_figure(scatters, run.dataset.classes), rows

    return by_run("separability", runs, analyse)


def analyse_early_exit(
    runs: Sequence[LoadedRun], options: AnalyseOptions, device: torch.device
) -> Findings:
    """Test accuracy against cost, by threshold, and the fixed exits beside it."""
    curves: dict[str, list[CurvePoint]] = {}
    fixed: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        student, split = _with_exits(run.student), sample(run.dataset.test, options.examples)
        curves[run.name] = early_exit_curve(student, split, THRESHOLDS, device)
        posteriors = log_posteriors_over(student, split, device)
        report = report_exits(posteriors, torch.from_numpy(split.labels))
        costs = exit_costs(student, run.dataset.image_shape)
        fixed[run.name] = [
            (cost.multiply_adds, measured["accuracy"])
            for cost, measured in zip(costs, report.exits, strict=True)
        ]
    rows = [_curve_row(name, point) for name, points in curves.items() for point in points]
    return Findings({"early_exit": early_exit_figure(curves, fixed)}, rows)


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
        first, second = (f"{100 * part:.0f} % of variance" for part in scatter.explained)
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


def _gradient_rows(
    run: LoadedRun, title: str, loss: Loss, options: AnalyseOptions, device: torch.device
) -> list[Row]:
    batches = training_batches(run.dataset, options.examples, device)
    modules, backbone = dict(run.student.named_modules()), backbone_of(run.student)
    rows: list[Row] = []
    depth = 0
    for layer, magnitude in gradient_magnitudes(run.student, loss, batches).items():
        on_the_way = modules[layer] in backbone
        depth += on_the_way
        rows.append(
            {
                "run": run.name,
                "loss": title,
                "layer": layer,
                "depth": depth if on_the_way else None,
                "mean_abs_gradient": magnitude,
            }
        )
    return rows


def _curve_row(name: str, point: CurvePoint) -> Row:
    shares = {f"share_exit_{e}": share for e, share in enumerate(point.share_per_exit, start=1)}
    return {
        "run": name,
        "threshold": point.threshold,
        "accuracy": point.accuracy,
        "mean_multiply_adds": point.mean_multiply_adds,
        **shares,
    }


def _with_exits(student: nn.Module) -> MultiExitStudent:
    assert isinstance(student, MultiExitStudent)
    return student
