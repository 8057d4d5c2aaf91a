"""The analyses of finished runs, written into a folder."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from cohort.analysis.of_runs import BY_NAME, Outcome
from cohort.analysis.options import ANALYSES, OF_EXITS, AnalyseOptions, refuse_without_exits
from cohort.analysis.runs import LoadedRun, distinct_names, load_run
from cohort.errors import ConfigError
from cohort.models.early_exit import MultiExitStudent
from cohort.reporting import figures


class Written(NamedTuple):
    """What ``analyse`` wrote, and a sentence for each run that had no part in an analysis."""

    files: list[Path]
    notes: list[str]


def analyse(options: AnalyseOptions) -> Written:
    """Carry out the analyses and write figures and tables into ``options.output``.

    Raises ConfigError, before anything is computed, if a run cannot take part in an analysis that
    was asked for. If none was asked for, each run takes part in those that it can.
    """
    runs, notes = _load(options), []
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for run in runs:
        if not isinstance(run.student, MultiExitStudent):
            refuse_without_exits(run.name, options.analyses or ())
            notes.append(f"{run.name} has no exits, so no part in {' and '.join(OF_EXITS)}")
        run.student.to(device)
    folder, files = _made(options.output), []
    for analysis in dict.fromkeys(options.analyses or ANALYSES):
        able = [
            run
            for run in runs
            if analysis not in OF_EXITS or isinstance(run.student, MultiExitStudent)
        ]
        if able:
            outcome = BY_NAME[analysis](able, options, device)
            files += _write(folder, analysis, outcome)
    return Written(files, notes)


def _load(options: AnalyseOptions) -> list[LoadedRun]:
    names = distinct_names(options.runs)
    runs = [load_run(run, options.data_root) for run in options.runs]
    return [run._replace(name=name) for run, name in zip(runs, names, strict=True)]


def _made(output: str) -> Path:
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output {output} cannot be written: {error.strerror}") from error
    return folder


def _write(folder: Path, analysis: str, outcome: Outcome) -> list[Path]:
    files = [
        file
        for name, figure in outcome.figures.items()
        for file in figures.save(figure, folder / name)
    ]
    table = folder / f"{analysis}.csv"
    pd.DataFrame(outcome.rows).convert_dtypes().to_csv(table, index=False)
    return [*files, table]
