"""How alike the students of a cohort are while they learn: agreement, and divergence of posteriors.

They were measured on the test split at every evaluation (``cohort.learning.measuring``); here they are
read from the run's records.
"""

import math
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cohort.analysis.drawing import axes_grid, banded, legend, numbered
from cohort.analysis.findings import Findings, captioned
from cohort.analysis.groups import Row, Subject
from cohort.analysis.options import AnalyseOptions
from cohort.analysis.pooling import curves
from cohort.errors import ConfigError, brief
from cohort.reporting.formatting import is_number
from cohort.reporting.records import Record, read_metrics
from cohort.run.finished import LoadedRun

TITLE = "Agreement of the students over time"


def analyse(subjects: Sequence[Subject], options: AnalyseOptions, device: torch.device) -> Findings:
    """Agreement and pairwise KL of all students at every evaluation on the test split."""
    rows = [
        subject.head
        | {
            "step": record["step"],
            "epoch": record["epoch"],
            "agreement": record["agreement"],
            "pairwise_kl": _number(record.get("pairwise_kl")),
        }
        for subject in subjects
        for record in told(subject.run)
    ]
    shows = (
        "Left, the share of test images on which two students give the same class; right, the "
        "Kullback-Leibler divergence between two students' posteriors on them; each the mean over all pairs "
        "of a run's students, at every evaluation."
    )
    return Findings({"agreement": captioned(agreement_figure(rows), shows, rows)}, rows)


def told(run: LoadedRun) -> list[Record]:
    """The records of a run that say how alike its students were on the test split.

    None of a run without two students, of people that are looked for, or of an earlier version.
    """
    if not run.folder.metrics.is_file():
        return []
    records = (r for r in read_metrics(run.folder.metrics) if r.get("student") == "ensemble")
    found = [r for r in records if r.get("phase") == "test" and r.get("agreement") is not None]
    for record in found:
        for key in ("step", "epoch", "agreement"):
            if not is_number(record.get(key)):
                raise ConfigError(
                    f"{run.folder.metrics} is damaged: {key} is {brief(record.get(key))}, not a number"
                )
    return found


def agreement_figure(rows: Sequence[Row]) -> Figure:
    """Agreement and divergence by epoch, pooled."""
    figure, (left, right) = axes_grid(1, 2, width=9.5, height=3.6)
    for axes, value, scale in ((left, "agreement", 100), (right, "pairwise_kl", 1)):
        lines = curves(rows, value, "group", "epoch")
        numbers = numbered(group for (group,) in lines)
        for (group,), points in lines.items():
            banded(axes, points, group, numbers[group], scale=scale)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_ylabel("images on which two agree / %")
    right.set_ylabel("mean pairwise KL / nat")
    legend(figure, left)
    return figure


def _number(value: object) -> float:
    """A measurement that was not finite is null in records, and here a gap, as what is no number is."""
    return value if is_number(value) else math.nan
