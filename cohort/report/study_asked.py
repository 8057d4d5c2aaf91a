"""What a study asks, on its page: what all trials have, what is varied, and how it is run again."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cohort.invocation import as_argument, command_line
from cohort.report.sections import Section
from cohort.report.settings import text_of
from cohort.report.tables import Heading, Table
from cohort.tuning.axes import Axis, Cases, written_axis
from cohort.tuning.folder import StudyFolder
from cohort.tuning.study import Study

VERSION = "version."


def asked(study: Study, folder: StudyFolder, trials: pd.DataFrame) -> Section:
    """Two tables, one folded with versions, and the command that runs the study again."""
    words = ("sweep", as_argument(str(folder.study)))
    space = [row for name, axis in study.space.items() for row in varied(name, axis)]
    shared = [
        ("command", str(study.command)),
        *((key, text_of(v)) for key, v in study.base.items()),
    ]
    shared.append(("seeds", text_of(study.seeds)))
    return Section(
        title="What was asked",
        commands=[command_line(*words)],
        tables=[
            _table("study-space", "What is varied", ("axis", "values or settings"), space),
            _table("study-base", "What all trials have", ("key", "value"), shared),
        ],
        folded=_versions(trials),
    )


def varied(name: str, axis: Axis) -> list[tuple[str, str]]:
    """An axis of the space, a row for each of its cases if it has some."""
    if isinstance(axis, Cases):
        return [(f"{name} = {case}", _together(keys)) for case, keys in axis.cases.items()]
    ((kind, content),) = written_axis(axis).items()
    if isinstance(content, Mapping):
        return [(name, _together(content))]
    return [(name, text_of(content) if kind == "grid" else f"{kind} {text_of(content)}")]


def _together(keys: Mapping[str, Any]) -> str:
    return "; ".join(f"{key} {text_of(value)}" for key, value in keys.items()) or "as all have it"


def _versions(trials: pd.DataFrame) -> list[Table]:
    """Of what the trials were trained with; several where they differ."""
    found = []
    for column in (str(name) for name in trials if str(name).startswith(VERSION)):
        texts = dict.fromkeys(str(text) for text in trials[column].dropna())
        found.append((column.removeprefix(VERSION), ", ".join(texts)))
    return [_table("study-versions", "Versions", ("of", "version"), found)] if found else []


def _table(name: str, title: str, headings: tuple[str, str], rows: list[tuple[str, str]]) -> Table:
    return Table(name=name, title=title, headings=tuple(map(Heading, headings)), rows=rows)
