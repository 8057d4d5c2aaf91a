"""Several runs: those that differ in their seed alone are one setting, and settings are compared by seed."""

import string
from collections.abc import Mapping, Sequence, Sized
from functools import partial
from typing import Any

import pandas as pd

from cohort.commands import COMMANDS
from cohort.errors import ConfigError
from cohort.report.panels import panels_of_groups
from cohort.report.reading import RunFiles
from cohort.report.run_part import curves_section
from cohort.report.sections import Builder, Part, Section
from cohort.report.settings import text_of
from cohort.report.tables import Heading, Table
from cohort.tuning.axes import Grid
from cohort.tuning.measurements import finals
from cohort.tuning.report import Report
from cohort.tuning.results.naming import with_unit
from cohort.tuning.results.summary import summarise, summary_table
from cohort.tuning.study import Study

SETTING = "setting"
LONGEST_NAME = 40
"""Characters of a setting's name; instead of a longer one stands its run, or a letter."""
METRICS = (
    *("test_accuracy", "ensemble_test_accuracy", "test_map", "ensemble_test_map"),
    *("test_rank1", "test_nll", "ensemble_test_nll", "test_ece", "train_entropy", "dee"),
)
"""What settings are compared by, as far as it was measured."""
FREE = (
    "run_dir",
    "seed",
    "baseline",
    "log_every",
    "checkpoint_every",
    "threads",
    "download",
    "exchange",
)
"""Keys that make no other setting."""
STEPS = ("epochs", "steps")
LINES = "A line is the mean over the runs of a setting, of each the mean of its students."
BAND = "Bands span the least to the greatest run, thin lines are single runs."
Groups = Mapping[str, Sequence[RunFiles]]


def grouped_by_setting(runs: Sequence[RunFiles]) -> dict[str, list[RunFiles]]:
    """Runs with equal settings, by the keys in which the settings differ, in order of appearance."""
    found: dict[str, list[RunFiles]] = {}
    labels = labels_of_runs(runs)
    for run in runs:
        name = ", ".join(f"{key}={value}" for key, value in labels[run.name].items())
        found.setdefault(name if run.config else run.name, []).append(run)
    if max(map(len, found)) <= LONGEST_NAME:
        return {name or SETTING: alike for name, alike in found.items()}
    letters = (f"{SETTING} {letter}" for letter in string.ascii_uppercase)
    return {
        alike[0].name if len(alike) == 1 else next(letters, name): alike
        for name, alike in found.items()
    }


def labels_of_runs(runs: Sequence[RunFiles]) -> dict[str, dict[str, str]]:
    """The values of the keys in which some of the runs differ, by run."""
    every = {run.name: _setting(run) for run in runs}
    differing = [
        key
        for key in dict.fromkeys(key for setting in every.values() for key in setting)
        if len({repr(setting.get(key)) for setting in every.values()}) > 1
    ]
    return {
        name: {key: text_of(setting.get(key)) for key in differing}
        for name, setting in every.items()
    }


def comparison(runs: Sequence[RunFiles], against: RunFiles | None = None) -> Part:
    """Curves of several runs in one panel, their means by setting, and paired differences.

    ``against`` is one of the runs, with whose setting others are compared; by default the first.
    """
    groups = grouped_by_setting(runs)
    built = Builder()
    built.add("settings", partial(_settings, groups))
    built.add("comparison", lambda: _compared(groups, against or runs[0], built.lacking))
    built.add("curves", lambda: curves_of(groups))
    seeds = {run.seed for run in runs}
    return Part(
        name="comparison",
        title="Comparison",
        line=f"{len(runs)} runs, {_counted(groups, 'setting')}, {_counted(seeds, 'seed')}",
        lacking=built.lacking,
        sections=built.sections,
    )


def curves_of(groups: Groups, prefix: str = "comparison-") -> Section:
    """A panel for each measurement, with a line for each setting."""
    return curves_section(panels_of_groups(groups), LINES, BAND, prefix)


def _settings(groups: Groups) -> Section:
    """Which runs are of a setting, and in which keys settings differ."""
    labels = labels_of_runs([run for runs in groups.values() for run in runs])
    rows, data = [], []
    for name, runs in groups.items():
        cells = labels[runs[0].name]
        names = ", ".join(run.name for run in runs)
        seeds = ", ".join(str(run.seed) for run in runs)
        rows.append((name, names, seeds, *cells.values()))
        data.append({SETTING: name, "runs": names, "seeds": seeds, **cells})
    keys = next(iter(labels.values()))
    table = Table(
        name="comparison-settings",
        title="In what they differ",
        headings=(Heading(SETTING), Heading("runs"), Heading("seeds"), *map(Heading, keys)),
        rows=rows,
        data=data,
    )
    return Section(title="Settings", tables=[table])


def _counted(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'s' * (len(things) != 1)}"


def _compared(groups: Groups, baseline: RunFiles, lacking: list[str]) -> Section:
    rows = [row for name, runs in groups.items() for row in _rows(name, runs, lacking)]
    table = pd.DataFrame(rows)
    metrics = [metric for metric in METRICS if metric in table and table[metric].notna().any()]
    if not metrics:
        lacking.append("No comparison: no run has finished yet.")
        return Section(title="Means and differences")
    base = next(name for name, runs in groups.items() if baseline in runs)
    study = Study(
        name="comparison",
        space={SETTING: Grid(tuple(groups))},
        seeds=tuple(sorted({run.seed for runs in groups.values() for run in runs})),
        metric=metrics[0],
        mode="max",
        report=Report(
            metrics=tuple(metrics), baseline={SETTING: base} if len(groups) > 1 else None
        ),
    )
    return Section(
        title="Means and differences", tables=summary_tables(study, table, "comparison-")
    )


def summary_tables(study: Study, trials: pd.DataFrame, prefix: str) -> list[Table]:
    """A table for each metric of a study: mean, standard error, and paired difference with its interval."""
    summary = summarise(study, trials)
    rows: list[dict[str, Any]] = [
        {str(key): _python(value) for key, value in row.items()}
        for row in summary.to_dict("records")
    ]
    every = [key for metric in study.report.metrics for key in _columns(metric)]
    found = []
    for metric in study.report.metrics:
        others = set(every) - set(_columns(metric))
        data = [{key: value for key, value in row.items() if key not in others} for row in rows]
        table = summary_table(study, summary, metric)
        if metric != study.report.metrics[-1]:  # what columns mean is said once, under the last
            table.caption = None
        found.append(Table.of_rich(f"{prefix}{metric}", with_unit(metric), table, data))
    return found


def _columns(metric: str) -> list[str]:
    parts = ("mean", "se", "diff", "diff_low", "diff_high")
    return [f"{metric}_{part}" for part in parts]


def _rows(name: str, runs: Sequence[RunFiles], lacking: list[str]) -> list[dict[str, Any]]:
    """A row for each run of a setting, as a study's table of trials has it; a seed counts once."""
    rows: dict[int, dict[str, Any]] = {}
    for run in runs:
        if run.seed in rows:
            lacking.append(
                f"{run.name} has the setting and the seed of another run, and is left out of means."
            )
            continue
        try:
            ended = finals(run.folder.path) or {}
        except ConfigError as error:
            lacking.append(f"{run.name} is left out of means: {error}.")
            ended = {}
        measured = {metric: ended[metric] for metric in METRICS if metric in ended}
        rows[run.seed] = {
            "trial": run.name,
            SETTING: name,
            "status": run.status,
            "seed": run.seed,
            **measured,
        }
    return list(rows.values())


def _setting(run: RunFiles) -> dict[str, Any]:
    """The keys of a run's config on which its weights depend, but the seed."""
    command = next((command for command in COMMANDS if command.name == run.command), None)
    free = {*FREE, *(command.config.EXTENDABLE if command else ())} - set(STEPS)
    setting = {key: value for key, value in run.config.items() if key not in free}
    if (
        setting.get("data_seed") == run.seed
    ):  # which it is anyway, and a student's has from its teachers
        setting["data_seed"] = None
    return {"command": run.command, **setting}


def _python(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value  # NumPy's numbers are no JSON
