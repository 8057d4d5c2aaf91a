"""The analyses of finished runs, written into a folder."""

from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pandas as pd
import torch

from cohort.analysis.analyses import (
    agreement,
    diversity,
    early_exit,
    gradients,
    jacobian,
    noise,
    posterior,
    ranking,
    reliability,
    separability,
    transfer,
)
from cohort.analysis.drawing import save
from cohort.analysis.findings import Findings
from cohort.analysis.groups import grouped
from cohort.analysis.index import INDEX, Entry, add_to_index, read_index
from cohort.analysis.members import count_members
from cohort.analysis.options import (
    ANALYSES,
    BESIDE,
    EXITS,
    KNOWN,
    PAIR,
    SCATTER,
    SEARCH,
    TOLD,
    TRIO,
    AnalyseOptions,
    distinct_names,
    note_unable,
    refuse_idle,
    refuse_unable,
)
from cohort.data.dataset import Search
from cohort.errors import ConfigError
from cohort.learning.precision import in_precision
from cohort.models.early_exit import MultiExitStudent
from cohort.run.finished import LoadedRun, load_run, load_teachers
from cohort.run.folder import RunFolder, check_writable

BY_NAME: dict[str, ModuleType] = {
    "noise": noise,
    "posterior": posterior,
    "gradients": gradients,
    "separability": separability,
    "early_exit": early_exit,
    "agreement": agreement,
    "reliability": reliability,
    "diversity": diversity,
    "transfer": transfer,
    "jacobian": jacobian,
    "ranking": ranking,
}


OF_CLASSES = ("separability", "early_exit", "agreement", "reliability", "diversity")
"""Analyses that look at test images by their classes."""


class Written(NamedTuple):
    """The files that ``analyse`` wrote, and a sentence for each run that had no part in an analysis."""

    files: list[Path]
    notes: list[str]


@in_precision("fp32")
def analyse(options: AnalyseOptions) -> Written:
    """Carry out the analyses and write figures, tables and their index into ``options.folder``.

    What other analyses wrote there stays.
    Raises ConfigError, before anything is computed, if a run cannot take part in an analysis that
    was asked for. If none was asked for, each run takes part in those that it can.
    """
    subjects, notes = grouped(_load(options)), []
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wants = {subject.run.name: lacking(subject.run) for subject in subjects}
    for name, lacks in wants.items():
        if options.analyses is not None:
            refuse_unable(name, options.analyses, lacks)
        elif told := {analysis: need for analysis, need in lacks.items() if need != SEARCH}:
            notes.append(note_unable(name, told))
    students = [student for subject in subjects for student in subject.run.students]
    able = {
        analysis: [subject for subject in subjects if analysis not in wants[subject.run.name]]
        for analysis in dict.fromkeys(options.analyses or ANALYSES)
    }
    done = [analysis for analysis, of in able.items() if of]
    refuse_idle(options, done, exits=any(isinstance(s, MultiExitStudent) for s in students))
    folder = _made(options)
    read_index(folder)  # before anything is computed, for one that is damaged is refused
    for student in students:
        student.to(device)
    files: list[Path] = []
    for analysis in done:
        module = BY_NAME[analysis]
        found: Findings = module.analyse(able[analysis], options, device)
        files += _write(folder, analysis, module.TITLE, found)
    return Written([*files, folder / INDEX], notes)


def lacking(run: LoadedRun) -> dict[str, str]:
    """The analyses that a run can have no part in, each with what it lacks for it."""
    wants: dict[str, str] = {}
    if not any(isinstance(student, MultiExitStudent) for student in run.students):
        wants |= {"separability": EXITS, "early_exit": EXITS}
    elif len(run.dataset.test) < 2:
        wants["separability"] = SCATTER
    members = count_members(run.students)
    if members < 2:
        wants["diversity"] = PAIR
    if members < 3:
        wants["transfer"] = TRIO
    if not agreement.told(run):
        wants["agreement"] = TOLD
    if isinstance(run.dataset.test, Search):
        wants |= dict.fromkeys(OF_CLASSES, KNOWN)
    else:
        wants["ranking"] = SEARCH
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


def _made(options: AnalyseOptions) -> Path:
    folder = options.folder
    if RunFolder(folder).config.exists():
        raise ConfigError(
            f"--output is {folder}, the folder of a run; give one of its own, such as {folder / BESIDE}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder, "--output")
    except OSError as error:
        raise ConfigError(f"--output {folder} cannot be written: {error.strerror}") from error
    return folder


def _write(folder: Path, analysis: str, title: str, findings: Findings) -> list[Path]:
    files = [
        file
        for name, (figure, _) in findings.figures.items()
        for file in save(figure, folder / name)
    ]
    table = folder / f"{analysis}.csv"
    pd.DataFrame(findings.rows).convert_dtypes().to_csv(table, index=False)
    captions = {name: caption for name, (_, caption) in findings.figures.items()}
    entry = Entry(title=title, table=table.name, figures=captions)
    add_to_index(folder, {analysis: entry})
    return [*files, table]
