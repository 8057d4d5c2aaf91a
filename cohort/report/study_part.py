"""All about one study, finished or not: its table, its figure, and the curves of its settings."""

from collections.abc import Sequence
from functools import partial

import pandas as pd

from cohort.errors import ConfigError
from cohort.imports import one_line
from cohort.report.drawing import styled, without_formulas
from cohort.report.groups import curves_of, summary_tables
from cohort.report.reading import RunFiles, is_run, read_run
from cohort.report.sections import Builder, Part, Picture, Section
from cohort.report.study_asked import asked
from cohort.report.tables import Heading, Table
from cohort.reporting.formatting import duration, number
from cohort.run.folder import RunFolder
from cohort.tuning.file.load import load_study
from cohort.tuning.folder import StudyFolder
from cohort.tuning.report import NoiseFigure
from cohort.tuning.results.naming import is_share, point_name, scale_of, with_unit
from cohort.tuning.results.table import trials_table
from cohort.tuning.space import labels_of
from cohort.tuning.state import known_trials
from cohort.tuning.study import OptunaSearch, Study
from cohort.tuning.trials import TrialSpec

MOST_SETTINGS = 12
"""Whose curves can be told apart in a panel."""
CALLED = {"trained_epochs": "epochs", "wall_seconds": "time"}
SHOWN = ("trial", "status", "seed", "trained_epochs", "wall_seconds", "restarts")


def study_part(folder: StudyFolder, name: str) -> Part:
    """What a study asked, and what came of it so far."""
    built = Builder()
    try:
        # Nothing of what it names is run here, whoever wrote it.
        study = load_study(folder.study, trust_code=True)
        specs, trials = _readable(study, folder, built.lacking)
    except Exception as error:  # files may hold anything
        said = [f"Nothing of the study can be shown: {_told(error)}."]
        return Part(name=name, title=name, line="A study", state="damaged", lacking=said)
    built.add("settings", lambda: asked(study, folder, trials))
    built.add("table", lambda: _table(study, trials, built.lacking))
    built.add("figure", partial(_figure, study, folder, trials))
    built.add("curves", lambda: _curves(study, folder, specs, built.lacking))
    built.add("table of trials", partial(_trials, study, folder, trials))
    ended = has_ended(trials) and _has_suggested(study, folder)
    counts = trials["status"].value_counts().to_dict()
    told = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none begun"
    return Part(
        name=name,
        title=name,
        line=f"A study of {len(specs)} trials with {len(study.seeds)} seeds: {told}",
        state="finished" if ended else "not ended",
        lacking=built.lacking,
        sections=built.sections,
    )


def _readable(
    study: Study, folder: StudyFolder, lacking: list[str]
) -> tuple[list[TrialSpec], pd.DataFrame]:
    """The trials whose files can be read, and their table."""
    specs = list(known_trials(study, folder))
    try:
        return specs, trials_table(study, folder, specs)
    except Exception:  # one by one, to tell which
        specs = _whole(study, folder, specs, lacking)
        return specs, trials_table(study, folder, specs)


def _whole(
    study: Study, folder: StudyFolder, specs: Sequence[TrialSpec], lacking: list[str]
) -> list[TrialSpec]:
    """The trials whose files can be read."""
    found = []
    for spec in specs:
        try:
            trials_table(study, folder, [spec])
        except Exception as error:  # files may hold anything
            lacking.append(f"Trial {spec.name} is left out: {_told(error)}.")
        else:
            found.append(spec)
    return found


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, ConfigError) else one_line(error)


def has_ended(trials: pd.DataFrame) -> bool:
    """Whether none of the trials is still to be trained."""
    return not trials["status"].eq("unfinished").any()


def _has_suggested(study: Study, folder: StudyFolder) -> bool:
    """Whether no further point will come."""
    search = study.search
    return not isinstance(search, OptunaSearch) or len(folder.suggestions()) >= search.samples


def _table(study: Study, trials: pd.DataFrame, lacking: list[str]) -> Section:
    if not trials["status"].eq("finished").any():
        lacking.append("No means: no trial has finished yet.")
        return Section(title="Result")
    return Section(title="Result", tables=summary_tables(study, trials, "summary-"))


def _figure(study: Study, folder: StudyFolder, trials: pd.DataFrame) -> Section:
    if study.report.figure is None:
        return Section(title="Figure")
    title = "The study's figure"
    if isinstance(study.report.figure, NoiseFigure):  # measured by the study, with its networks
        file = folder.figure.with_suffix(".svg")
        svg = file.read_bytes() if file.is_file() else None
        picture = Picture(name="figure", title=title, svg=svg, wide=True)
        return Section(title="Figure", pictures=[picture] if svg else [])
    from cohort.tuning.results.report_figure import draw_figure

    with styled():
        drawn = draw_figure(study, folder, trials)
    if drawn is None:
        return Section(title="Figure")
    figure = without_formulas(drawn.figure)
    picture = Picture(name="figure", title=title, figure=figure, wide=True)
    return Section(title="Figure", pictures=[picture])


def _curves(
    study: Study, folder: StudyFolder, specs: Sequence[TrialSpec], lacking: list[str]
) -> Section:
    groups: dict[str, list[RunFiles]] = {}
    for spec in specs:
        run_dir = RunFolder(folder.trial(spec))
        if is_run(run_dir):
            name = point_name(spec.labels) or study.name
            groups.setdefault(name, []).append(read_run(run_dir, spec.name))
    if len(groups) > MOST_SETTINGS:
        lacking.append(
            f"No curves of {len(groups)} settings, more than a panel shows: name some of the trials' folders "
            "instead of the study's."
        )
        return Section(title="Curves")
    return curves_of(groups, "study-")


def _trials(study: Study, folder: StudyFolder, trials: pd.DataFrame) -> Section:
    failures = folder.failures()
    names = list(labels_of(study.space))
    keys = [*names, *(key for key in SHOWN if key in trials), study.metric]
    keys = [key for key in dict.fromkeys(keys) if key in trials]
    rows = []
    for row in trials.to_dict("records"):
        cells = []
        for key in keys:
            value = row[key]
            if key == "wall_seconds":
                cells.append(duration(value))
            elif isinstance(value, float):
                cells.append(number(scale_of(key) * value, ".2f" if is_share(key) else "#.4g"))
            else:
                cells.append("–" if value is None or value is pd.NA else str(value))
        rows.append((*cells, failures.get(row["trial"], "") if row["status"] == "failed" else ""))
    numeric = [pd.api.types.is_numeric_dtype(trials[key]) for key in keys]
    named = [CALLED.get(key, with_unit(key) if key == study.metric else key) for key in keys]
    headings = (*map(Heading, named, numeric), Heading("why it failed"))
    data = [
        {str(k): None if v is pd.NA else v for k, v in row.items()}
        for row in trials.to_dict("records")
    ]
    table = Table(name="trials", title="Trials", headings=headings, rows=rows, data=data)
    return Section(title="Trials", folded=[table])
