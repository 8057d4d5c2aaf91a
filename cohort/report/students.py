"""The table of a run's students and their ensemble, as the terminal has it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cohort.report.reading import RunFiles
from cohort.report.tables import Table
from cohort.reporting.table import rows_of, summary_table

ALONE = "alone"
TITLES = {
    "self-distill": "The network, and the ensemble of its exits",
    "ods-distill": "The student, and its teachers",
}


def against(run: RunFiles, other: RunFiles | None) -> tuple[Mapping[str, Any] | None, str]:
    """The summary that a run is compared with, and how it is called: another's, or its students alone."""
    if other is not None and other.folder.path != run.folder.path and other.summary.get("students"):
        return other.summary, f"({other.name})"
    return (run.alone, ALONE) if run.alone.get("students") else (None, ALONE)


def students_table(run: RunFiles, beside: Mapping[str, Any] | None, called: str) -> Table:
    """Test measurements of each student and of the ensemble, with differences to the same rows elsewhere."""
    table = summary_table(run.summary, beside, called=called)
    data = [*_data(run.summary, ""), *_data(beside or {}, f" {called}")]
    title = TITLES.get(run.command or "", "Students and their ensemble")
    shown = Table.of_rich("students", title, table, data)
    if beside is None or called == ALONE:
        return shown
    note = f"vs {called}: points of accuracy, or mAP, more than the same row of that run"
    return replace(shown, notes=(*shown.notes, note))


def _data(summary: Mapping[str, Any], called: str) -> list[dict[str, Any]]:
    """All that the summary says in numbers and words of each row."""
    return [
        {"row": f"{who}{called}"}
        | {key: value for key, value in row.items() if not isinstance(value, list | dict)}
        for who, row in rows_of(summary)
    ]
