"""The analyses of ensembles as figures: each a pure function of the numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cohort.analysis.figures import MARKERS, RUNS, axes_grid
from cohort.metrics.diversity import DiversityBin

Matrix = Sequence[Sequence[float]]


def diversity_figure(splits: Mapping[str, Mapping[str, Sequence[DiversityBin]]]) -> Figure:
    """Diversity against confidence: a panel per split, a curve per kind of input.

    A bin without examples, or of infinite diversity, is a gap in the curve.
    """
    figure, panels = axes_grid(1, len(splits), width=4.2 * len(splits), height=3.4)
    for axes, (split, curves) in zip(panels, splits.items(), strict=True):
        for number, (inputs, bins) in enumerate(curves.items()):
            middle = [(found.lower + found.upper) / 2 for found in bins]
            _line(axes, middle, [found.diversity for found in bins], inputs, number)
        axes.set(title=f"{split} images", xlabel="confidence of the ensemble", xlim=(0, 1))
        axes.set_ylabel("mean pairwise KL / nat")
    panels[-1].legend()
    return figure


def transfer_figure(
    by_source: Mapping[str, Sequence[float]], kl_to_clean: Mapping[str, Sequence[float]]
) -> Figure:
    """Left the diversity by the member that inputs were made with, right each member's own reaction.

    Args:
        by_source: curves by name, each with a value per source.
        kl_to_clean: rows of a heat map, by what the inputs were made with; a column per member.
    """
    members = len(next(iter(kl_to_clean.values())))
    figure, (left, right) = axes_grid(1, 2, width=6.4 + 0.6 * members, height=3.6)
    for number, (name, values) in enumerate(by_source.items()):
        _line(left, range(len(values)), values, name, number)
    left.set(xlabel="ODS made with member", ylabel="mean pairwise KL / nat")
    left.set_xticks(range(members))
    left.legend(fontsize="small")
    _heat(figure, right, list(kl_to_clean.values()), "KL(clean ‖ perturbed) / nat")
    right.set_yticks(range(len(kl_to_clean)), list(kl_to_clean))
    right.set(xlabel="member", ylabel="inputs made with")
    return figure


def jacobian_figure(relative_error: Matrix, cosine: Matrix) -> Figure:
    """How alike the Jacobians are of every member (rows) and every teacher (columns)."""
    figure, panels = axes_grid(1, 2, width=6.4 + 0.8 * len(cosine[0]), height=3.4)
    titles = "relative squared error", "cosine"
    for axes, title, matrix in zip(panels, titles, (relative_error, cosine), strict=True):
        _heat(figure, axes, matrix, title)
        axes.set_yticks(range(len(matrix)))
        axes.set(xlabel="teacher", ylabel="member")
    return figure


def _line(axes: Axes, x: Sequence[float], y: Sequence[float], label: str, number: int) -> None:
    finite = np.where(np.isfinite(y), y, np.nan)
    marker = MARKERS[number % len(MARKERS)]
    axes.plot(x, finite, color=RUNS[number % len(RUNS)], marker=marker, markersize=4, label=label)


def _heat(figure: Figure, axes: Axes, matrix: Matrix, label: str) -> None:
    image = axes.imshow(np.array(matrix), aspect="auto", cmap="cividis", interpolation="nearest")
    axes.set_xticks(range(len(matrix[0])))
    figure.colorbar(image, ax=axes, label=label)
