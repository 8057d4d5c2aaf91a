"""Accuracy and loss on training images under noise on the weights: Figure 3b of mutual learning.

What is measured: ``cohort.analysis.weight_noise``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from matplotlib.figure import Figure

from cohort.analysis.drawing import axes_grid, banded, legend, numbered
from cohort.analysis.findings import SEED, Findings, captioned, sample
from cohort.analysis.groups import Row, Subject
from cohort.analysis.options import AnalyseOptions
from cohort.analysis.pooling import Band, curves, is_single
from cohort.analysis.weight_noise import weight_noise_curve

TITLE = "Flat minima: weight noise"
SINGLE = "band ± standard deviation over the draws of the noise"


def analyse(subjects: Sequence[Subject], options: AnalyseOptions, device: torch.device) -> Findings:
    """The curve of every student, on training images that are not augmented."""
    rows = []
    for subject in subjects:
        split = sample(subject.run.dataset.train, options.examples)
        for head, student in subject.students():
            points = weight_noise_curve(
                student,
                split,
                options.sigmas,
                options.draws,
                SEED,
                device,
                relative=options.relative,
            )
            rows += [head | asdict(point) for point in points]
    figure = noise_figure(rows, relative=options.relative)
    shows = (
        "Accuracy and cross-entropy on training images with Gaussian noise on all weights; a flat "
        f"minimum loses little. Each point is the mean over draws of the noise ({options.draws})."
    )
    return Findings({"noise": captioned(figure, shows, rows, single=SINGLE)}, rows)


def noise_figure(rows: Sequence[Row], *, relative: bool = False) -> Figure:
    """Accuracy and loss against the strength of the noise, pooled.

    ``rows`` have ``group``, ``run``, ``student`` and the fields of ``NoisePoint``. The band of a
    single student is the standard deviation over the draws.
    """
    figure, (left, right) = axes_grid(1, 2, width=9.5, height=3.6)
    for axes, value, scale in ((left, "accuracy", 100), (right, "loss", 1)):
        lines = curves(rows, f"{value}_mean", "group", "sigma")
        numbers = numbered(group for (group,) in lines)
        for (group,), points in lines.items():
            of = [row for row in rows if row["group"] == group]
            drawn = _over_draws(of, value) if is_single(of) else points
            banded(axes, drawn, group, numbers[group], scale=scale)
    unit = " / root mean square of the layer" if relative else ""
    for axes, label in ((left, "accuracy / %"), (right, "cross-entropy / nat")):
        axes.set(xlabel=f"σ of the weight noise{unit}", ylabel=label)
    legend(figure, left)
    return figure


def _over_draws(rows: Sequence[Row], value: str) -> Mapping[Any, Band]:
    ends = {row["sigma"]: (row[f"{value}_mean"], row[f"{value}_std"]) for row in rows}
    return {sigma: Band(mean, mean - std, mean + std) for sigma, (mean, std) in ends.items()}
