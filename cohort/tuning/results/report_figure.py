"""The figure that a study's report asks for: which numbers of the table of trials go into which plot.

Only finished trials are drawn.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from cohort.metrics.statistics import mean_and_error
from cohort.tuning.axes import LogUniform
from cohort.tuning.folder import StudyFolder
from cohort.tuning.report import BarsFigure, HeatmapFigure, LinesFigure, NoiseFigure
from cohort.tuning.results.naming import point_name
from cohort.tuning.results.plots import bars, heatmap, lines
from cohort.tuning.results.table import finished, grouped, within_ladder
from cohort.tuning.space import labels_of
from cohort.tuning.study import Study


class Drawn(NamedTuple):
    """A figure, and the numbers behind it where the table of trials lacks them."""

    figure: Figure
    numbers: pd.DataFrame | None = None


def draw_figure(
    study: Study, folder: StudyFolder, table: pd.DataFrame, *, trust_code: bool = False
) -> Drawn | None:
    """The figure that the report asks for; None if it asks for none or nothing is measured yet."""
    rows = within_ladder(finished(table))
    match study.report.figure:
        case LinesFigure() as wanted:
            figure = _lines(study, wanted, rows)
        case BarsFigure() as wanted:
            figure = _bars(study, wanted, rows)
        case HeatmapFigure() as wanted:
            figure = _heatmap(study, wanted, rows)
        case NoiseFigure() as wanted if len(rows):
            return _noise(study, wanted, folder, rows, trust_code)
        case _:
            figure = None
    return None if figure is None else Drawn(figure)


def _lines(study: Study, wanted: LinesFigure, rows: pd.DataFrame) -> Figure | None:
    by = _further(study, [] if wanted.series is None else [wanted.series], [wanted.x], rows)
    data = {
        metric: {
            name: {at: group[metric].tolist() for (at,), group in grouped(line, [wanted.x]).items()}
            for name, line in _named(rows, by).items()
        }
        for metric in _measured(rows, wanted.y)
    }
    log_x = isinstance(study.space.get(wanted.x), LogUniform)
    dots = study.search.kind != "grid"
    return lines(data, x=wanted.x, dots=dots, log_x=log_x) if data else None


def _bars(study: Study, wanted: BarsFigure, rows: pd.DataFrame) -> Figure | None:
    points = _points(study, rows)
    data = {
        metric: {name: group[metric].tolist() for name, group in points.items()}
        for metric in _measured(rows, wanted.y)
    }
    return bars(data) if data else None


def _heatmap(study: Study, wanted: HeatmapFigure, rows: pd.DataFrame) -> Figure | None:
    if not _measured(rows, [wanted.value]):
        return None
    axes = [wanted.x, wanted.y]
    by = _further(study, [] if wanted.panels is None else [wanted.panels], axes, rows)
    panels = {name: _cells(group, axes, wanted.value) for name, group in _named(rows, by).items()}
    return heatmap(panels, x=wanted.x, y=wanted.y, value=wanted.value)


def _noise(
    study: Study, wanted: NoiseFigure, folder: StudyFolder, rows: pd.DataFrame, trust_code: bool
) -> Drawn:
    # Which alone need torch.
    from cohort.analysis.analyses.noise import SINGLE, noise_figure
    from cohort.analysis.findings import captioned
    from cohort.tuning.results.noise import noise_rows

    numbers = [
        {"point": name, "trial": trial, "seed": seed, **row}
        for name, group in _points(study, rows).items()
        for trial, seed in zip(group["trial"], group["seed"].tolist(), strict=True)
        for row in noise_rows(folder.trials / trial, wanted, trust_code=trust_code)
    ]
    pooled = [{**row, "group": row["point"], "run": row["trial"]} for row in numbers]
    figure = noise_figure(pooled, relative=wanted.relative)
    return Drawn(captioned(figure, "", pooled, single=SINGLE).figure, pd.DataFrame(numbers))


def _measured(rows: pd.DataFrame, metrics: Sequence[str]) -> list[str]:
    """Those of the metrics that at least one trial has."""
    return [metric for metric in metrics if metric in rows and rows[metric].notna().any()]


def _further(
    study: Study, named: Sequence[str], taken: Sequence[str], rows: pd.DataFrame
) -> list[str]:
    """The labels that tell lines or panels apart: those named, then what else differs.

    Where a search draws the points, only those named: all the others would differ everywhere.
    """
    if study.search.kind != "grid":
        return list(named)
    others = [name for name in labels_of(study.space) if name not in (*named, *taken)]
    return [*named, *_varying(rows, others)]


def _varying(rows: pd.DataFrame, names: Sequence[str]) -> list[str]:
    return [name for name in names if len(grouped(rows, [name])) > 1]


def _points(study: Study, rows: pd.DataFrame) -> Mapping[str, pd.DataFrame]:
    """The rows of each point, under the labels in which the points differ."""
    named = _named(rows, _varying(rows, list(labels_of(study.space))))
    return {name or study.name: group for name, group in named.items()}


def _named(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    groups = grouped(rows, names)
    return {point_name(dict(zip(names, key, strict=True))): rows for key, rows in groups.items()}


def _cells(rows: pd.DataFrame, axes: Sequence[str], metric: str) -> dict[tuple[Any, Any], float]:
    means = {
        (x, y): mean_and_error(group[metric].tolist()).mean
        for (x, y), group in grouped(rows, axes).items()
    }
    return {cell: mean for cell, mean in means.items() if not math.isnan(mean)}
