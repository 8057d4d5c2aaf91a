"""All about one run."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from cohort.jobs.self_distill.config import WITH_EXITS
from cohort.report.analyses import analyses
from cohort.report.drawing import draw_course, draw_panel, styled
from cohort.report.events import course_of, events_table, hosts_table, stragglers, times_table
from cohort.report.panels import Panel, panels_of_run
from cohort.report.reading import RunFiles
from cohort.report.sections import Builder, Part, Picture, Section
from cohort.report.settings import (
    repeat_by_file,
    repeat_by_flags,
    settings,
    settings_table,
    text_of,
)
from cohort.report.students import against, students_table
from cohort.report.tables import Heading, Table
from cohort.reporting.formatting import duration, is_number, number

WHAT = {"train": "A cohort", "self-distill": "Self-distillation", "ods-distill": "ODS distillation"}
BAND = (
    "Lines are means over the students, bands span the least to the greatest of them, thin lines are "
    "single students."
)


TRAINING = (
    "Training is measured on the batches as they are learned from, and averaged over the steps since the "
    "point before."
)
LOSS = "The loss is the labels' cross-entropy and the divergence from the teachers, weighed."
OF_EXITS = (
    "The cross-entropy is the deepest exit's, divergence and distance are means over the others; the loss "
    "weighs and adds up the terms of all exits."
)


def run_part(run: RunFiles, other: RunFiles | None, *, curves: bool = True) -> Part:
    """What a run was, and what came of it; beside ``other`` or, without one, its own students alone."""
    built = Builder(list(run.lacking))
    built.add("table of results", partial(_results, run, other))
    if curves:
        built.add("curves", partial(_curves, run))
    built.add("configuration", partial(_configuration, run))
    built.add("times", partial(_times, run))
    built.add("time line", partial(_course, run))
    built.add("analyses", lambda: analyses(run, built.lacking))
    built.add("provenance", partial(_provenance, run))
    return Part(
        name=run.name,
        title=run.name,
        line=_line(run),
        state=run.status,
        lacking=built.lacking,
        sections=built.sections,
    )


def curves_section(panels: Sequence[Panel], said: str, band: str, prefix: str = "") -> Section:
    """Panels drawn, under what is said of them all, and what bands and points are, if there are any."""
    every = [series.lines for panel in panels for series in panel.series]
    paragraphs = [said] if panels else []
    paragraphs += [band] if any(len(lines.names) > 1 for lines in every) else []
    if (most := max((lines.thinned for lines in every), default=1)) > 1:
        paragraphs.append(f"Points of training are means of up to {most} records.")
    with styled():
        pictures = [
            Picture(name=f"{prefix}{panel.name}", title=panel.title, figure=draw_panel(panel))
            for panel in panels
        ]
    return Section(title="Curves", paragraphs=paragraphs, pictures=pictures)


def _line(run: RunFiles) -> str:
    config, summary = run.config, run.summary
    parts = [WHAT.get(run.command or "", "A run")]
    if run.command == "train":
        parts = [f"{parts[0]} of {config.get('k')}, teacher {config.get('teacher')}"]
    elif "method" in config:
        parts = [f"{parts[0]}, method {config['method']}"]
    network = config.get("students") or config.get("model")
    parts += [f"{text_of(network)} on {config.get('dataset')}"] if network else []
    parts.append(f"seed {run.seed}")
    last = max((record["step"] for record in run.records), default=0)
    parts.append(f"{number(_number(summary, 'steps') or last, ',.0f')} steps")
    if summary:
        parts.append(f"in {duration(_number(summary, 'wall_seconds'))}")
        parts.append(
            f"{number(_number(summary, 'images_per_second'), ',.0f')} images/s per student"
        )
    return ", ".join(parts)


def _results(run: RunFiles, other: RunFiles | None) -> Section:
    beside, called = against(run, other)
    if not run.summary.get("students"):
        return Section(title="Result")
    paragraphs = [str(run.summary["error"])] if run.summary.get("error") else []
    return Section(
        title="Result", paragraphs=paragraphs, tables=[students_table(run, beside, called)]
    )


def _curves(run: RunFiles) -> Section:
    exits = run.config.get("method") in WITH_EXITS
    return curves_section(panels_of_run(run), f"{TRAINING} {OF_EXITS if exits else LOSS}", BAND)


def _configuration(run: RunFiles) -> Section:
    found = settings(run)
    differing = [setting for setting in found if setting.differs]
    alike = [setting for setting in found if not setting.differs]
    tables = [settings_table(differing, "settings", "Other than its recipe")] if differing else []
    said = (
        "" if differing else "Everything is as the recipe of its data set and the defaults have it."
    )
    return Section(
        title="Configuration",
        paragraphs=[said] if said and found else [],
        tables=tables,
        folded=[settings_table(alike, "settings-usual", "As recipe or default")] if alike else [],
    )


def _times(run: RunFiles) -> Section:
    tables = [table for table in (times_table(run), hosts_table(run)) if table is not None]
    return Section(title="Where the time goes", paragraphs=stragglers(run), tables=tables)


def _course(run: RunFiles) -> Section:
    if not run.events:
        return Section(title="What happened")
    with styled():
        figure = draw_course(course_of(run))
    caption = "Numbers are those of the table; records of steps that were trained again are the later ones."
    course = Picture(
        name="course", title="Steps over time", caption=caption, figure=figure, wide=True
    )
    return Section(title="What happened", tables=[events_table(run)], pictures=[course])


def _provenance(run: RunFiles) -> Section:
    versions = run.summary.get("versions")
    known: Mapping[str, Any] = versions if isinstance(versions, Mapping) else {}
    rows = [(str(name), str(text)) for name, text in known.items()]
    table = Table(
        name="versions", title="Versions", headings=(Heading("of"), Heading("version")), rows=rows
    )
    commands = [repeat_by_file(run), repeat_by_flags(run)] if run.command else []
    return Section(
        title="To repeat it",
        paragraphs=["From its folder, or by flags alone:"] if commands else [],
        commands=commands,
        tables=[table] if rows else [],
    )


def _number(values: Mapping[str, Any], key: str) -> float | None:
    value = values.get(key)
    return value if is_number(value) else None
