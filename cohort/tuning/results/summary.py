"""The summary of a study: each point's means over the seeds, and what sets it apart from its baseline."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from cohort.metrics.statistics import mean_and_error, paired_difference
from cohort.reporting.display import explain
from cohort.reporting.formatting import DASH, number
from cohort.tuning.results.naming import is_share, scale_of, value_text, with_unit
from cohort.tuning.results.table import count_outside, finished, grouped, within_ladder
from cohort.tuning.space import label, labels_of
from cohort.tuning.study import Study

Values = tuple[Any, ...]


def summarise(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """A row per point, in the order of the table of trials.

    The labels, ``n`` (finished trials, of which all numbers are), ``trials`` (all), and for every
    metric of the report ``…_mean`` and ``…_se`` (standard error); of a deep-ensemble equivalent
    ``…_below`` and ``…_above`` too, how many lie outside of their ensembles: then there is no mean, as
    if they lay inside, nor a difference. If the report has a baseline:
    ``pairs``, the seeds that are finished in the point and in its baseline, and ``…_diff``,
    ``…_diff_low`` and ``…_diff_high``, the mean difference over them and its 95 % interval. These
    are missing where a point is its own baseline, or its baseline is no point of the study.
    """
    names = list(labels_of(study.space))
    points = grouped(table, names)
    ended = {values: finished(rows) for values, rows in points.items()}
    rows = []
    for values, trials in points.items():
        labels = dict(zip(names, values, strict=True))
        row = {**labels, "n": len(ended[values]), "trials": len(trials)}
        baseline = _baseline(study, labels)
        others = None if baseline == values else ended.get(baseline)
        rows.append(row | _measured(study, ended[values], others))
    summary = pd.DataFrame(rows, dtype=object)
    return summary.astype({name: "float64" for name in summary if name not in names}).astype(
        {name: "int64" for name in ("n", "trials", "pairs") if name in summary}
    )


def summary_table(study: Study, summary: pd.DataFrame, metric: str) -> Table:
    """One metric for a terminal: mean ± standard error, and the difference with its interval."""
    table = Table(title=with_unit(metric), title_justify="left", box=SIMPLE_HEAD, show_edge=False)
    names = list(labels_of(study.space))
    for name in names:
        table.add_column(name)
    differences = ["difference [95 %]"] if study.report.baseline is not None else []
    for heading in ("n", "mean ± SE", *differences):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in summary.to_dict("records"):
        count = str(row["n"]) if row["n"] == row["trials"] else f"{row['n']} of {row['trials']}"
        labels = (value_text(row[name]) for name in names)
        table.add_row(*map(Text, labels), count, *map(Text, cells(study, metric, row)))
    explain(table, _meanings(study))
    return table


def _meanings(study: Study) -> dict[str, str]:
    baseline = ", ".join(f"{k} {value_text(v)}" for k, v in (study.report.baseline or {}).items())
    return {
        "n": "those that have finished, one per seed, which all numbers are of",
        "mean ± SE": "mean over the seeds, of each the mean of its students, and its standard error; of one "
        "seed there is none, nor an interval",
        "difference [95 %]": f"this row minus the row with {baseline} and all else alike, mean over "
        "the seeds that both have, and its 95 % interval",
    }


def _baseline(study: Study, labels: Mapping[str, Any]) -> Values:
    replaced = {name: label(value) for name, value in (study.report.baseline or {}).items()}
    return tuple(replaced.get(name, value) for name, value in labels.items())


def _measured(study: Study, own: pd.DataFrame, baseline: pd.DataFrame | None) -> dict[str, float]:
    row: dict[str, float] = {}
    if study.report.baseline is not None:
        row["pairs"] = 0 if baseline is None else len({*own["seed"]} & {*baseline["seed"]})
    for metric in study.report.metrics:
        values = _by_seed(own, metric)
        mean, error, _ = mean_and_error(list(values.values()))
        row |= {f"{metric}_mean": mean, f"{metric}_se": error}
        if outside := count_outside(own, metric):
            row[f"{metric}_below"], row[f"{metric}_above"] = outside
        if study.report.baseline is not None:
            others = {} if baseline is None else _by_seed(baseline, metric)
            difference = paired_difference(values, others)
            row[f"{metric}_diff"] = difference.mean
            row |= {f"{metric}_diff_low": difference.low, f"{metric}_diff_high": difference.high}
    return row


def _by_seed(rows: pd.DataFrame, metric: str) -> dict[int, float]:
    """NaN where a trial has no such measurement."""
    rows = within_ladder(rows)
    values = rows[metric] if metric in rows else [math.nan] * len(rows)
    return dict(zip(rows["seed"].tolist(), values, strict=True))


def cells(study: Study, metric: str, row: Mapping[str, Any]) -> list[str]:
    """A metric of a row of the summary, for people.

    Mean ± standard error and, if the study has a baseline, the difference and its interval; a dash for
    what is missing. Shares have two digits of a percent, others as many as their error makes sense of.
    """
    mean, error = (scale_of(metric) * row[f"{metric}_{part}"] for part in ("mean", "se"))
    form = ".2f" if is_share(metric) else _form(error)
    found = DASH if math.isnan(mean) else number(mean, form)
    found += "" if math.isnan(error) else f" ± {number(error, form)}"
    shown = [f"{found}{_outside(metric, row)}"]
    if study.report.baseline is not None:
        parts = ("diff", "diff_low", "diff_high")
        middle, low, high = (scale_of(metric) * row[f"{metric}_{part}"] for part in parts)
        form = f"+{'.2f' if is_share(metric) else _form((high - low) / 2)}"
        found = DASH if math.isnan(middle) else number(middle, form)
        found += "" if math.isnan(low) else f" [{number(low, form)}, {number(high, form)}]"
        shown.append(found)
    return shown


def _form(error: float) -> str:
    """Of a number whose error has two digits."""
    if not math.isfinite(error) or error == 0:
        return "#.4g"
    return f".{max(0, 1 - math.floor(math.log10(error)))}f"


def _outside(metric: str, row: Mapping[str, Any]) -> str:
    """What is said of values that lie outside of a ladder of ensembles, if some do."""
    counts = {
        sign: row.get(f"{metric}_{end}", 0) for sign, end in (("<1", "below"), (">M", "above"))
    }
    told = [f"{count:.0f} {sign}" for sign, count in counts.items() if count > 0]
    return f" ({', '.join(told)})" if told else ""
