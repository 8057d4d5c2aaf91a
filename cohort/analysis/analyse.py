"""The analyses of finished runs, written into a folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from cohort.analysis.drawing import save
from cohort.analysis.findings import Findings
from cohort.analysis.members import count_members
from cohort.analysis.ods import analyse_diversity, analyse_jacobian, analyse_transfer
from cohort.analysis.options import (
    ANALYSES,
    EXITS,
    KNOWN,
    PAIR,
    SCATTER,
    TRIO,
    AnalyseOptions,
    distinct_names,
    note_unable,
    refuse_unable,
)
from cohort.analysis.self_distillation import (
    analyse_early_exit,
    analyse_gradients,
    analyse_separability,
)
from cohort.analysis.weight_noise import analyse_noise
from cohort.data.dataset import Search
from cohort.errors import ConfigError
from cohort.learning.precision import in_precision
from cohort.models.early_exit import MultiExitStudent
from cohort.run.finished import LoadedRun, load_run, load_teachers

BY_NAME: dict[str, Callable[[Sequence[LoadedRun], AnalyseOptions, torch.device], Findings]] = {
    "noise": analyse_noise,
    "gradients": analyse_gradients,
    "separability": analyse_separability,
    "early_exit": analyse_early_exit,
    "diversity": analyse_diversity,
    "transfer": analyse_transfer,
    "jacobian": analyse_jacobian,
}


class Written(NamedTuple):
    """The files that ``analyse`` wrote, and a sentence for each run that had no part in an analysis."""

    files: list[Path]
    notes: list[str]


@in_precision("fp32")
def analyse(options: AnalyseOptions) -> Written:
    """Carry out the analyses and write figures and tables into ``options.output``.

    Raises ConfigError, before anything is computed, if a run cannot take part in an analysis that
    was asked for. If none was asked for, each run takes part in those that it can.
    """
    runs, notes = _load(options), []
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wants = {run.name: lacking(run) for run in runs}
    for run in runs:
        if options.analyses is not None:
            refuse_unable(run.name, options.analyses, wants[run.name])
        elif wants[run.name]:
            notes.append(note_unable(run.name, wants[run.name]))
        for student in run.students:
            student.to(device)
    folder, files = _made(options.output), []
    for analysis in dict.fromkeys(options.analyses or ANALYSES):
        able = [run for run in runs if analysis not in wants[run.name]]
        if able:
            files += _write(folder, analysis, BY_NAME[analysis](able, options, device))
    return Written(files, notes)


def lacking(run: LoadedRun) -> dict[str, str]:
    """The analyses that a run can have no part in, each with what it lacks for it."""
    wants: dict[str, str] = {}
    if not isinstance(run.student, MultiExitStudent):
        wants |= {"separability": EXITS, "early_exit": EXITS}
    elif len(run.dataset.test) < 2:
        wants["separability"] = SCATTER
    members = count_members(run.students)
    if members < 2:
        wants["diversity"] = PAIR
    if members < 3:
        wants["transfer"] = TRIO
    if isinstance(run.dataset.test, Search):
        wants |= dict.fromkeys(("separability", "early_exit", "diversity"), KNOWN)
    try:
        load_teachers(run.folder, trust_code=run.trust_code)
    except ConfigError as error:
        wants["jacobian"] = f"teachers ({error})"
    return wants


def _load(options: AnalyseOptions) -> list[LoadedRun]:
    names = distinct_names(options.runs)
    where, trust = options.data_root, options.trust_code
    runs = [load_run(run, where, trust_code=trust) for run in options.runs]
    return [run._replace(name=name) for run, name in zip(runs, names, strict=True)]


def _made(output: str) -> Path:
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output {output} cannot be written: {error.strerror}") from error
    return folder


def _write(folder: Path, analysis: str, findings: Findings) -> list[Path]:
    files = [
        file for name, figure in findings.figures.items() for file in save(figure, folder / name)
    ]
    table = folder / f"{analysis}.csv"
    pd.DataFrame(findings.rows).convert_dtypes().to_csv(table, index=False)
    return [*files, table]
