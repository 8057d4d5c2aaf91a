"""The result of a run as a table: its students, their ensemble, and what being alone gave."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cohort.reporting.display import NARROWEST, console_for, explain
from cohort.reporting.formatting import DASH, duration, number, percent
from cohort.reporting.scores import MAP, headline
from cohort.reporting.waits import delay_of

Summary = Mapping[str, Any]
"""The contents of ``summary.json``, or one line of it."""

SCORES = {
    "NLL, Brier, ECE": "negative log-likelihood (nat), Brier score and expected calibration error on "
    "the test split; less is better"
}
FOUND = {
    "mAP %, multi mAP %": "mean average precision of the queries, by one picture of each and, multi, "
    "by all of the same person and camera",
    "trapezoid %": "the same mAP by the area under the curve, as Market-1501's code has it",
    "rank 1 %": "queries to which the nearest picture is a right one; rank 5 and 10 are in summary.json",
}
MEANINGS = (
    SCORES
    | FOUND
    | {
        "train entropy": "mean entropy (nat) of the posterior on training images",
        "cNLL, cBrier, cECE": "NLL, Brier, ECE at the temperature that fits the validation split best",
        "DEE": "deep-ensemble equivalent: so many teachers (DE-…) together have this cNLL; < and > where "
        "none have",
        "KL": "mean divergence (nat) between the posteriors of two members: their diversity",
        "waits s": "seconds an epoch in which a student's process waited for the others'",
        "time ms": "measured for one image, the median; of a network with exits, of the deepest",
        "vs alone": "points of accuracy, or mAP, gained on the same row of students alone",
    }
)
"""What stands under the table of the columns that it has."""

Cell = Callable[[Any], str]
CLASSIFIED: Mapping[str, tuple[str, Cell]] = {
    "accuracy\n%": ("test_accuracy", partial(percent, digits=2)),
    "NLL": ("test_nll", number),
    "Brier": ("test_brier", number),
    "ECE": ("test_ece", number),
}
"""Columns of runs that tell classes apart: by heading, the measurement and how it is written."""
RETRIEVED: Mapping[str, tuple[str, Cell]] = {
    "mAP\n%": ("test_map", partial(percent, digits=2)),
    "trape-\nzoid %": ("test_map_trapezoid", partial(percent, digits=2)),
    "multi\nmAP %": ("test_multi_map", partial(percent, digits=2)),
    "rank\n1 %": ("test_rank1", percent),
}
"""Of runs that find people again, as many as a terminal has room for; those that no row has are left out."""
DISPENSABLE = ("parameters", "train\nentropy", "cBrier", "cECE")
"""Columns that a window too narrow for all of them goes without, the first of them first."""
ALL_RIGHT = (
    "No example of the validation split is wrong, so that no temperature fits best, and there is none: "
    "neither cNLL, cBrier and cECE nor DEE are known there. Hold out more images by --validation."
)
"""What stands over the meanings where a row has no temperature."""
LADDER = "DE-1, DE-2 and so on: the mean over ensembles of so many of the networks that were trained alone."
"""The same where such rows are."""
CALIBRATED = {"cNLL": "test_cnll", "cBrier": "test_cbrier", "cECE": "test_cece"}
"""Columns of runs with a validation split, on which a temperature is fitted."""


def summary_table(
    summary: Summary,
    baseline: Summary | None = None,
    without: Collection[str] = (),
    *,
    called: str = "alone",
) -> Table:
    """Test measurements of each student and of the ensemble.

    Args:
        summary: of the run.
        baseline: of a run of the same networks that did not teach each other. Its rows are added,
            labelled as it is called, and a column with the difference of accuracy in points, student
            by student.
        without: columns for which there is no room, of those that are ``DISPENSABLE``.
        called: how the baseline is called.
    """
    # As tight as rich can: with a baseline it has to fit a terminal of 80 columns.
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for heading in ("student", "network"):
        table.add_column(heading, min_width=8)
    rows, alone = dict(rows_of(summary)), dict(rows_of(baseline or {}))
    measures, more = _measures(rows), _further_columns(rows)
    own: dict[str, tuple[str, Cell]] = {
        "parameters": ("parameters", partial(number, form=",d")),
        **measures,
        "train\nentropy": ("train_entropy", number),
    }
    own = {heading: measure for heading, measure in own.items() if heading not in without}
    more = {heading: cell for heading, cell in more.items() if heading not in without}
    for heading in (*own, *more):
        table.add_column(heading, justify="right", no_wrap=True)
    if baseline is not None:
        table.add_column(f"vs\n{called}", justify="right", no_wrap=True)
    for who, row in rows.items():
        further = [cell(row) for cell in more.values()]
        gain = () if baseline is None else (_points(row, alone.get(who)),)
        table.add_row(*_cells(who, row, own), *further, *gain)
    table.add_section()
    for who, row in alone.items():
        table.add_row(*_cells(f"{who} {called}", row, own))
    lacks = any(number(row.get("test_temperature", 1.0)) == DASH for row in rows.values())
    explain(table, MEANINGS, *(ALL_RIGHT,) * lacks, *(LADDER,) * bool(summary.get("teachers")))
    return table


def print_summary(console: Console, summary: Summary, baseline: Summary | None = None) -> None:
    """Print how the run ended, and its table."""
    print_table(console, summary, baseline)
    console.print(Text(_ending(summary)), soft_wrap=True)


def print_table(console: Console, summary: Summary, baseline: Summary | None = None) -> None:
    """Print the table of a run without how it ended; in a narrow window, without some columns."""
    console, without = console_for(console), 0
    table = summary_table(summary, baseline)
    while without < len(DISPENSABLE) and not _fits(table, console):
        without += 1
        table = summary_table(summary, baseline, DISPENSABLE[:without])
    console.print(table)


def _fits(table: Table, console: Console) -> bool:
    """Whether the table's columns have room, which rich would cut off at the right."""
    return (
        Measurement.get(console, console.options.update(width=NARROWEST), table).minimum
        <= console.width
    )


def rows_of(summary: Summary) -> Iterator[tuple[str, Summary]]:
    """The rows of a run's table: what each is called, and its line of the summary."""
    students = summary.get("students") or ()
    waits = _waits(summary.get("hosts") or ())
    for row in students:
        yield str(row["student"]), {**row, **waits.get(row["student"], {})}
        for line in row.get("exits") or ():
            where = f"after {line['place']}" if line.get("place") else "the whole"
            yield f"{row['student']} exit {line['exit']}", {**line, "model": where}
        for line in row.get("members") or ():
            yield f"{row['student']} member {line['member']}", line
    # One student's members together are the student itself.
    if summary.get("ensemble") and not any(row.get("members") for row in students):
        yield "ensemble", summary["ensemble"]
    if summary.get("ensemble_deepest"):
        yield "of the deepest 3", summary["ensemble_deepest"]
    if summary.get("best"):
        yield "best", {**summary["best"], "model": f"epoch {summary['best']['epoch']:g}"}
    for line in summary.get("teachers") or ():
        yield f"DE-{line['size']}", {**line, "model": "teachers"}


def _further_columns(rows: Mapping[str, Summary]) -> dict[str, Callable[[Summary], str]]:
    """The columns that only some kinds of runs have: heading, and how a row's cell is made."""
    columns: dict[str, Callable[[Summary], str]] = {}
    if any("test_cnll" in row for row in rows.values()):
        for heading, key in CALIBRATED.items():
            columns[heading] = partial(_measured, key)
    if any("dee" in row for row in rows.values()):
        most = max((row.get("size", 0) for row in rows.values()), default=0)
        columns["DEE"] = partial(_equivalent, most)
    if any("test_diversity" in row for row in rows.values()):
        columns["KL"] = partial(_measured, "test_diversity")
    if any("latency_ms" in row for row in rows.values()):
        columns["time\nms"] = lambda row: number(row.get("latency_ms"), ".2f")
    if any("waits" in row for row in rows.values()):
        columns["waits\ns"] = lambda row: number(row.get("waits"), ".1f")
    return columns


def _waits(hosts: Sequence[Summary]) -> dict[int, Summary]:
    """What to add to the students' rows where some of them wait for others."""
    if delay_of(hosts) is None:
        return {}
    return {
        k: {"waits": host["wait_seconds_per_epoch"]} for host in hosts for k in host["students"]
    }


def _measured(key: str, row: Summary) -> str:
    return number(row.get(key))


def _equivalent(most: int, row: Summary) -> str:
    """A deep-ensemble equivalent, marked where it lies outside of the teachers' ensembles."""
    dee = row.get("dee")
    outside = row.get("dee_outside")
    if outside is None and dee in (1, most):  # a version wrote it that did not tell
        return f"≤{dee:g}" if dee == 1 else f"≥{dee:g}"
    if outside:
        return f"{'<' if outside < 0 else '>'}{dee:g}"
    return number(dee, ".2f")


def _measures(rows: Mapping[str, Summary]) -> Mapping[str, tuple[str, Cell]]:
    """The columns of what was measured of the test split."""
    if not any(headline(row, "test_") == MAP for row in rows.values()):
        return CLASSIFIED
    return {
        heading: (key, written)
        for heading, (key, written) in RETRIEVED.items()
        if any(key in row for row in rows.values())
    }


def _cells(who: str, row: Summary, columns: Mapping[str, tuple[str, Cell]]) -> tuple[str, ...]:
    return (
        who,
        str(row.get("model") or DASH),
        *(written(row.get(key)) for key, written in columns.values()),
    )


def _points(row: Summary, alone: Summary | None) -> str:
    key = f"test_{headline(row, 'test_')}"
    ours, theirs = row.get(key), (alone or {}).get(key)
    # Another network in the same place is no baseline.
    if ours is None or theirs is None or (alone or {}).get("model") != row.get("model"):
        return DASH
    return number(100 * (ours - theirs), "+.2f")


def _ending(summary: Summary) -> str:
    parts = [
        str(summary.get("status", "unknown")),
        f"{number(summary.get('steps'), 'd')} steps in {duration(summary.get('wall_seconds'))}",
        f"{number(summary.get('images_per_second'), '.0f')} images/s per student",
    ]
    if summary.get("restarts"):
        parts.append(f"{summary['restarts']} restarts")
    if summary.get("teacher_restarts"):
        parts.append(f"{summary['teacher_restarts']} restarts of teachers")
    if summary.get("dropped"):
        parts.append(f"without students {', '.join(map(str, summary['dropped']))}")
    if delay := delay_of(summary.get("hosts") or ()):
        parts.append(str(delay))
    return ", ".join(parts)
