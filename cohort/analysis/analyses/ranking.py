"""Whom students find again: how often within how many pictures, and pictures of what they find.

"Deep Mutual Learning" (CVPR 2018, arXiv 1706.00384) has the first rank of this curve in its tables on
Market-1501; the ensemble compares the features of all students side by side, as in Figure 2b.
"""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from cohort.analysis.drawing import axes_grid, banded, legend, numbered
from cohort.analysis.findings import Captioned, Findings, captioned
from cohort.analysis.groups import ENSEMBLE, Row, Subject
from cohort.analysis.options import AnalyseOptions
from cohort.analysis.pooling import curves
from cohort.analysis.ranking import ranking_figure
from cohort.config import Distance
from cohort.data.dataset import Search
from cohort.learning.evaluation import answers_over, combined
from cohort.learning.measuring import pictures_of, together
from cohort.metrics.retrieval import find_hits, first_places
from cohort.run.finished import read_run_data

TITLE = "People found again"
RANKS = 20
PICTURE = (
    "Some queries, and what the students of {run} together find most alike to each, the nearest first; no "
    "band."
)


def analyse(subjects: Sequence[Subject], options: AnalyseOptions, device: torch.device) -> Findings:
    """Of every student, and of all students of a run together, on the whole gallery."""
    rows: list[Row] = []
    pictures: dict[str, Captioned] = {}
    for subject in subjects:
        run, search = subject.run, subject.run.dataset.test
        assert isinstance(search, Search)
        distance = read_run_data(run.folder, None).distance
        features = []
        for head, student in subject.students():
            features.append(combined(student, answers_over(student, search, device)))
            rows += [head | row for row in match_rows(search, features[-1], distance, device)]
        of_all_ND = together(search, features)
        if len(features) > 1:
            head = subject.head | {"group": f"{subject.group}: together", "student": ENSEMBLE}
            rows += [head | row for row in match_rows(search, of_all_ND, distance, device)]
        name = "ranking-found" if len(subjects) == 1 else f"ranking-found-{run.name}"
        drawn = ranking_figure(search, of_all_ND, distance, device)
        pictures[name] = Captioned(drawn, PICTURE.format(run=run.name))
    shows = (
        "Share of queries that have a right picture among the nearest (CMC), by how many are looked at; "
        "together: by the features of all students of a run side by side."
    )
    figures = {"ranking": captioned(match_figure(rows), shows, rows)} | pictures
    return Findings(figures, rows)


def match_rows(
    search: Search, features_ND: Tensor, distance: Distance, device: torch.device
) -> list[Row]:
    """Share of the queries with a right picture among the nearest 1, 2, …, by one picture of each."""
    query, gallery, _ = pictures_of(search, features_ND, device)
    first = first_places(find_hits(query, gallery, distance))
    return [
        {"rank": rank, "match_rate": float((first < rank).double().mean())}
        for rank in range(1, RANKS + 1)
    ]


def match_figure(rows: Sequence[Row]) -> Figure:
    """Match rate by rank, pooled."""
    figure, (axes,) = axes_grid(1, 1, width=7, height=3.8)
    lines = curves(rows, "match_rate", "group", "rank")
    numbers = numbered(group for (group,) in lines)
    for (group,), points in lines.items():
        banded(axes, points, group, numbers[group], scale=100)
    axes.set(xlabel="pictures that are looked at, the nearest first", ylabel="match rate / %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, axes)
    return figure
