"""How well each exit's features separate the classes: sums of squares, and a scatter per student.

"Be Your Own Teacher" (ICCV 2019, arXiv 1905.08094), section 5. What is measured:
``cohort.analysis.separability``.
"""

from collections.abc import Sequence
from dataclasses import asdict

import torch
from matplotlib.figure import Figure

from cohort.analysis.drawing import CLASSES, MARKERS, axes_grid, banded, legend, numbered
from cohort.analysis.findings import Captioned, Findings, captioned, sample
from cohort.analysis.groups import Row, Subject
from cohort.analysis.options import AnalyseOptions
from cohort.analysis.pooling import curves
from cohort.analysis.separability import Scatter, features_over, pca_scatter, separability
from cohort.models.early_exit import MultiExitStudent

TITLE = "Separability of the exits' features"
SCATTER = (
    "Features of test images at each exit on their two principal axes, a dot an image; no band."
)


def analyse(subjects: Sequence[Subject], options: AnalyseOptions, device: torch.device) -> Findings:
    """Sums of squares of the test examples' features at every exit, pooled; a scatter per student."""
    rows: list[Row] = []
    scatters: dict[tuple[str, int], Figure] = {}
    for subject in subjects:
        split = sample(subject.run.dataset.test, options.examples)
        labels_N = torch.from_numpy(split.labels)
        for head, student in subject.students():
            if not isinstance(student, MultiExitStudent):
                continue
            features = features_over(student, split, device)
            places = (*student.network.places, "end")
            for exit, (place, features_NF) in enumerate(
                zip(places, features, strict=True), start=1
            ):
                measured = asdict(separability(features_NF, labels_N))
                rows.append(head | {"exit": exit, "place": place} | measured)
            drawn = [pca_scatter(features_NF, labels_N) for features_NF in features]
            figure = scatter_figure(drawn, subject.run.dataset.classes)
            scatters[head["run"], head["student"]] = figure
    shows = (
        "Sum of squares of test images' features within classes over that between classes, by exit: the "
        "smaller, the better separated."
    )
    figures = {"separability": captioned(ratio_figure(rows), shows, rows)}
    return Findings(figures | _named(scatters), rows)


def ratio_figure(rows: Sequence[Row]) -> Figure:
    """The ratio of the sums of squares by exit, pooled."""
    figure, (axes,) = axes_grid(1, 1, width=6.5, height=3.6)
    lines = curves(rows, "ratio", "group", "exit")
    numbers = numbered(group for (group,) in lines)
    for (group,), points in lines.items():
        banded(axes, points, group, numbers[group])
    axes.set(xlabel="exit, 1 the shallowest", ylabel="within / between classes")
    axes.set_xticks(sorted({exit for points in lines.values() for exit in points}))
    legend(figure, axes)
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
                label=classes[label],
            )
        first, second = (f"{100 * share:.0f} % of variance" for share in scatter.explained)
        axes.set(title=f"exit {exit}", xlabel=f"axis 1 ({first})", ylabel=f"axis 2 ({second})")
    handles, labels = panels[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize="small", markerscale=2)
    return figure


def _named(scatters: dict[tuple[str, int], Figure]) -> dict[str, Captioned]:
    """The scatters, named by their run and student as far as there are several."""
    runs, students = (len(set(of)) > 1 for of in zip(*scatters, strict=True))
    named = {}
    for (run, student), figure in scatters.items():
        whose = (f"-{run}" if runs else "") + (f"-student{student}" if students else "")
        named[f"separability-features{whose}"] = Captioned(
            figure, f"{run}, student {student}. {SCATTER}"
        )
    return named
