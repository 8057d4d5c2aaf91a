"""The table of a study's trials: a row for each, with what was set, what came out, and of what."""

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd

from cohort.files import atomic_write
from cohort.run.folder import RunFolder
from cohort.tuning.folder import StudyFolder
from cohort.tuning.measurements import PROGRESS, finals, history, state_of
from cohort.tuning.space import label, labels_of
from cohort.tuning.study import Study
from cohort.tuning.trials import TrialSpec

Status = Literal["finished", "stopped", "failed", "unfinished"]
OUTSIDE = "_outside"
"""End of the name of a column that says whether a deep-ensemble equivalent is one: see ``Equivalent``."""
COUNTS = ("trained_steps", "restarts", "dropped")
RENAMED = {"steps": "trained_steps", "epochs": "trained_epochs"}
"""Their own names may be those of an axis."""


class _Row(NamedTuple):
    """The parts of a row, by column, in the order in which the table has them."""

    setting: dict[str, Any]
    config: dict[str, Any]
    measured: dict[str, float]
    digests: dict[str, str]
    progress: dict[str, Any]
    versions: dict[str, str]


def trials_table(study: Study, folder: StudyFolder, specs: Sequence[TrialSpec]) -> pd.DataFrame:
    """A row per trial, in the order of ``specs``.

    Columns: ``trial``, ``status`` (finished, stopped by a scheduler, failed or unfinished),
    ``command``, the labels, ``seed``, ``config.KEY`` for every key that the study sets, the
    measurements under the names of ``cohort.tuning.measurements`` (of a stopped trial the last
    ones; of failed and unfinished trials none), ``student_0_weights_sha256`` …, ``trained_steps``,
    ``trained_epochs``, ``wall_seconds``, ``images_per_second``, ``restarts``, ``dropped`` (how many
    students) and ``version.NAME``. Labels and config values are Python's own, lists as text.
    """
    ends = [line for line in folder.decisions() if line["kind"] in ("stopped", "failed")]
    decided: dict[str, Status] = {line["trial"]: line["kind"] for line in ends}
    rows = [_row(folder.trial(spec), spec, decided.get(spec.name)) for spec in specs]
    setting = ("trial", "status", "command", *labels_of(study.space), "seed")
    measured = sorted(_union(row.measured for row in rows), key=_of_which_student)
    progress = [RENAMED.get(key, key) for key in (*PROGRESS, "dropped")]
    columns = [
        *setting,
        *_union(row.config for row in rows),
        *measured,
        *sorted(_union(row.digests for row in rows), key=_of_which_student),
        *progress,
        *_union(row.versions for row in rows),
    ]
    merged = [{key: value for part in row for key, value in part.items()} for row in rows]
    cells = [[row.get(column) for column in columns] for row in merged]
    # As objects, or a missing value would turn whole numbers into fractions.
    table = pd.DataFrame(cells, columns=columns, dtype=object)
    numbers = dict.fromkeys((*measured, *progress), "float64") | dict.fromkeys(COUNTS, "Int64")
    return table.astype({"seed": "int64", **numbers})


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table atomically, every number with all digits that tell it from its neighbours."""
    atomic_write(path, table.to_csv(index=False))


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a table atomically; columns that mix numbers with anything else become text."""
    objects = table.select_dtypes(object).columns
    stored = BytesIO()
    table.assign(**{name: _of_one_type(table[name]) for name in objects}).to_parquet(
        stored, index=False
    )
    atomic_write(path, stored.getvalue())


def grouped(table: pd.DataFrame, columns: Sequence[str]) -> dict[tuple[Any, ...], pd.DataFrame]:
    """The rows with equal values in all of these columns, by these values, in order of appearance.

    Unlike pandas' own, takes None for a value and 3 and "3" for two.
    """
    places: dict[tuple[Any, ...], list[int]] = {}
    for place in range(len(table)):
        key = tuple(table[column].iloc[place] for column in columns)
        places.setdefault(key, []).append(place)
    return {key: table.iloc[found] for key, found in places.items()}


def finished(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the trials that were trained to their end."""
    return table[table["status"] == "finished"]


def within_ladder(table: pd.DataFrame) -> pd.DataFrame:
    """The same, with NaN for deep-ensemble equivalents that lie outside of their teachers' ensembles.

    Such a one is known by its end of the ladder alone, which is no value to take a mean of.
    """
    known = {}
    for flag in _flags_of_outside(table):
        metric = flag.removesuffix(OUTSIDE)
        known[metric] = table[metric].where(table[flag].fillna(0) == 0)
    return table.assign(**known)


def count_outside(rows: pd.DataFrame, metric: str) -> tuple[int, int] | None:
    """How many of a metric's values lie below and above its ladder; None for one that has none."""
    flag = f"{metric}{OUTSIDE}"
    if flag not in rows:
        return None
    return int((rows[flag] < 0).sum()), int((rows[flag] > 0).sum())


def _flags_of_outside(table: pd.DataFrame) -> list[str]:
    return [name for name in table if name.endswith(f"dee{OUTSIDE}")]


def _row(run_dir: Path, spec: TrialSpec, decided: Status | None) -> _Row:
    status = _status(run_dir, decided)
    ended = _ended(run_dir, status)
    summary = RunFolder(run_dir).read_summary() if (run_dir / "summary.json").exists() else {}
    heads = (*PROGRESS, "dropped")
    setting = {"trial": spec.name, "status": status, "command": spec.command}
    return _Row(
        setting={**setting, **spec.labels, "seed": spec.seed},
        config={f"config.{key}": label(v) for key, v in spec.values.items() if key != "seed"},
        measured={key: value for key, value in ended.items() if key not in (*heads, "status")},
        digests={
            f"student_{line['student']}_weights_sha256": line["weights_sha256"]
            for line in summary.get("students", ())
        },
        progress={RENAMED.get(key, key): ended.get(key) for key in heads},
        versions={f"version.{name}": text for name, text in summary.get("versions", {}).items()},
    )


def _status(run_dir: Path, decided: Status | None) -> Status:
    state = state_of(run_dir)
    if state == "finished":
        return "finished"
    return decided or ("failed" if state == "failed" else "unfinished")


def _ended(run_dir: Path, status: Status) -> Mapping[str, Any]:
    """What a trial ended with; of a stopped one, the last evaluation before that."""
    ended = finals(run_dir) or {}
    evaluations = history(run_dir) if status == "stopped" else []
    if evaluations:
        last = dict(evaluations[-1])
        return {**ended, "steps": last.pop("step"), "epochs": last.pop("epoch"), **last}
    return ended


def _union(parts: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for part in parts for key in part))


def _of_which_student(column: str) -> int:
    """To put the columns of single students after the others, in the order of their numbers."""
    head, _, rest = column.partition("_")
    return int(rest.partition("_")[0]) if head == "student" else -1


def _of_one_type(column: "pd.Series[Any]") -> "pd.Series[Any]":
    kinds = {type(value) for value in column if value is not None}
    if len(kinds) < 2 or kinds == {int, float}:
        return column
    return column.map(lambda value: None if value is None else str(value))
