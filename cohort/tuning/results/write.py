"""The results of a study, finished or not: tables and figure in its folder, summary on the terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from rich.console import Console

from cohort.analysis.drawing import save
from cohort.reporting.display import console_for
from cohort.tuning.folder import StudyFolder
from cohort.tuning.results.report_figure import draw_figure
from cohort.tuning.results.summary import summarise, summary_table
from cohort.tuning.results.table import finished, trials_table, write_csv, write_parquet
from cohort.tuning.study import Study
from cohort.tuning.trials import TrialSpec


class Results(NamedTuple):
    """What ``write_results`` made of a study."""

    study: Study
    trials: pd.DataFrame
    summary: pd.DataFrame
    files: list[Path]
    notes: list[str]
    """Sentences on what could not be shown."""


def write_results(
    study: Study, folder: StudyFolder, specs: Sequence[TrialSpec], *, trust_code: bool = False
) -> Results:
    """Write trials.csv, trials.parquet, summary.csv, and figure.svg and figure.png if there is one.

    A figure of noise has its numbers in noise.csv; it builds the networks of the trials, of code only
    with ``trust_code``. Of a study that goes on, shows what there is.
    """
    trials = trials_table(study, folder, specs)
    summary = summarise(study, trials)
    write_csv(trials, folder.table_csv)
    write_parquet(trials, folder.table_parquet)
    write_csv(summary, folder.summary_csv)
    files = [folder.table_csv, folder.table_parquet, folder.summary_csv]
    drawn = draw_figure(study, folder, trials, trust_code=trust_code)
    if drawn is not None:
        files += save(drawn.figure, folder.figure)
    if drawn is not None and drawn.numbers is not None:
        write_csv(drawn.numbers, folder.path / "noise.csv")
        files.append(folder.path / "noise.csv")
    return Results(study, trials, summary, files, _notes(study, trials, drawn is not None))


def print_results(results: Results, console: Console) -> None:
    """Print the summary, a table for each metric, what could not be shown, and where everything is."""
    console = console_for(console)
    for metric in results.study.report.metrics:
        console.print(summary_table(results.study, results.summary, metric))
        console.print()
    for note in results.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    for file in results.files:
        console.print(str(file), markup=False, highlight=False, soft_wrap=True)


def _notes(study: Study, trials: pd.DataFrame, has_figure: bool) -> list[str]:
    ended = finished(trials)
    if ended.empty:
        without = "" if study.report.figure is None else " and no figure"
        return [f"no trial has finished yet, so that there are no means{without}"]
    absent = [m for m in study.report.metrics if m not in ended or ended[m].isna().all()]
    notes = [f"no finished trial has measured {', '.join(absent)}"] if absent else []
    if study.report.figure is not None and not has_figure:
        notes.append("no finished trial has measured what the figure shows: there is no figure")
    return notes
