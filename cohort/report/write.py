"""``report``: the page of runs and studies on disk, once or as long as they go on."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from cohort.analysis.options import distinct_names
from cohort.errors import ConfigError
from cohort.files import atomic_write, is_uri
from cohort.report.groups import comparison
from cohort.report.options import ReportOptions
from cohort.report.page import render
from cohort.report.reading import RunFiles, is_run, read_run
from cohort.report.run_part import run_part
from cohort.report.sections import Part, Picture
from cohort.report.study_part import study_part
from cohort.report.svg import write_figure
from cohort.report.tables import Table, encoded, write_table
from cohort.run.storage import to_read
from cohort.tuning.folder import StudyFolder

EVERY = 10
"""Seconds from one writing of a page that is watched to the next."""
MOST_WITH_CURVES = 4
"""Runs that have curves of their own beside those in which they are compared."""
LONGEST = 120
"""Characters of a file's name without its suffix."""


class Shown(NamedTuple):
    """What a page consists of, and whether all of it has ended."""

    parts: list[Part]
    ended: bool


def report(
    options: ReportOptions,
    tell: Callable[[str], None] = print,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Path]:
    """Write the page, its figures and its tables; with ``watch`` again until all runs have ended.

    Args:
        options: what is shown, and where.
        tell: takes a sentence for the person who waits.
        sleep: waits so many seconds.

    Raises ConfigError for a folder that is of no run and no study, or a file that cannot be written.
    That and KeyboardInterrupt end the watching, and leave a page that is not read again.
    """
    shown = gather(options)
    files = _write(options, shown, watched=options.watch and not shown.ended)
    if options.watch and not shown.ended:
        tell(f"{options.output} is written anew every {EVERY} s until all has ended, or Ctrl-C")
    try:
        while options.watch and not shown.ended:
            sleep(EVERY)
            shown = gather(options)
            files = _write(options, shown, watched=not shown.ended)
    except (KeyboardInterrupt, ConfigError):
        _write(options, shown, watched=False)
        raise
    return files


def gather(options: ReportOptions) -> Shown:
    """Everything that the folders have now."""
    runs, studies = _sorted(options)
    other = _against(options, runs)
    parts, ended = [], True
    for folder, name in studies:
        parts.append(study_part(folder, name))
        ended = ended and parts[-1].state == "finished"
    together = runs if other is None or other in runs else [other, *runs]
    if len(together) > 1:
        parts.append(comparison(together, other))
    for run in runs:
        parts.append(run_part(run, other, curves=len(runs) <= MOST_WITH_CURVES))
        ended = ended and run.ended
    return Shown(_with_distinct_files(parts), ended)


def _sorted(options: ReportOptions) -> tuple[list[RunFiles], list[tuple[StudyFolder, str]]]:
    """The runs, as they are now, and the studies; ConfigError for what is neither."""
    runs, studies = [], []
    for given, name in zip(options.folders, _names(options.folders), strict=True):
        study = None if is_uri(given) else StudyFolder(given)
        if study is not None and study.study.is_file():
            studies.append((study, name))
            continue
        folder = to_read(given)
        if not is_run(folder):
            raise ConfigError(
                f"{given} is neither the folder of a run, with a config.yaml, nor that of a study, with a "
                "study.yaml"
            )
        runs.append(read_run(folder, name))
    return runs, studies


def _against(options: ReportOptions, runs: Sequence[RunFiles]) -> RunFiles | None:
    """The run that others are compared with, one of them or another."""
    if options.against is None:
        return None
    if not runs:
        raise ConfigError(
            f"--against is {options.against!r}, but no run is given to compare with it; a study says itself "
            "what its baseline is"
        )
    folder = to_read(options.against)
    if not is_run(folder):
        raise ConfigError(
            f"--against {options.against} is not the folder of a run: it has no config.yaml"
        )
    same = [run for run in runs if run.folder.path.resolve() == folder.path.resolve()]
    name = folder.path.resolve().name
    taken = {run.name for run in runs}
    return same[0] if same else read_run(folder, f"{name} (against)" if name in taken else name)


def _names(given: Sequence[str]) -> list[str]:
    """What each is called: as much of its path as tells it from the others."""
    if any(map(is_uri, given)):
        return list(given)
    return distinct_names(given)


def _with_distinct_files(parts: Sequence[Part]) -> list[Part]:
    """The parts, each table and figure with a file of its own, which names its part if there are several."""
    tables, pictures = Names(), Names()
    found = []
    for part in parts:
        alone = len(parts) == 1 or part.name == "comparison"  # whose files say so
        prefix = "" if alone else f"{part.name}-"
        sections = [
            replace(
                section,
                tables=[replace(each, name=tables.of(prefix, each)) for each in section.tables],
                folded=[replace(each, name=tables.of(prefix, each)) for each in section.folded],
                pictures=[
                    replace(each, name=pictures.of(prefix, each)) for each in section.pictures
                ],
            )
            for section in part.sections
        ]
        found.append(replace(part, sections=sections))
    return found


class Names:
    """Names of files, without a suffix: whatever runs call things, each is of one file in its folder."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def of(self, prefix: str, named: Table | Picture) -> str:
        """A name that nothing else was given; with a number where others would have the same."""
        text = re.sub("[^A-Za-z0-9._-]+", "_", f"{prefix}{named.name}").lstrip(".-")
        first = name = text[:LONGEST] or "_"
        count = 1
        while name.lower() in self._given:  # some disks do not tell case apart
            count += 1
            name = f"{first}-{count}"
        self._given.add(name.lower())
        return name


def _write(options: ReportOptions, shown: Shown, *, watched: bool) -> list[Path]:
    """Write all files, each atomically, the page last. Raises ConfigError if one cannot be."""
    title = ", ".join(part.title for part in shown.parts)
    page = Path(options.output)
    text = render(shown.parts, title, EVERY if watched else None)
    try:
        files = _write_parts(options, shown.parts)
        atomic_write(page, encoded(text))
    except OSError as error:
        place = error.filename2 or error.filename or page
        raise ConfigError(f"{place} cannot be written: {error.strerror or error}") from error
    return [*files, page]


def _write_parts(options: ReportOptions, parts: Sequence[Part]) -> list[Path]:
    files: list[Path] = []
    for section in (section for part in parts for section in part.sections):
        if options.tables is not None:
            for table in (*section.tables, *section.folded):
                files += write_table(table, Path(options.tables))
        if options.figures is not None:
            for picture in section.pictures:
                if picture.figure is not None:
                    files += write_figure(picture.figure, Path(options.figures), picture.name)
                elif picture.svg is not None:  # drawn before, elsewhere
                    files.append(Path(options.figures) / f"{picture.name}.svg")
                    atomic_write(files[-1], picture.svg)
    return files
