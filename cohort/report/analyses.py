"""What ``cohort analyse`` left beside a run: figures with captions, and tables."""

import csv
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from cohort import formats
from cohort.cards import read_json
from cohort.errors import ConfigError
from cohort.report.reading import ANALYSES, INDEX, RunFiles
from cohort.report.sections import Picture, Section
from cohort.report.tables import Heading, Table

LARGEST = 20 * 2**20
"""Bytes of a figure or table: more is none that this wrote."""
ROWS = 200
"""Of a table that are shown."""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """One of them, as the index has it."""

    title: str
    table: str | None = None
    figures: dict[str, str]
    """Captions by the names of the files, without .svg."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """What lies beside the index."""

    analyses: dict[str, Analysis]


_READER = TypeAdapter(Index)


def analyses(run: RunFiles, lacking: list[str]) -> Section:
    """Whatever analyses there are; what the index names and is not there is said in ``lacking``."""
    folder = run.folder.path / ANALYSES
    if not (folder / INDEX).is_file():
        return Section(title="Analyses")
    try:
        index = read_json(folder / INDEX, _READER, formats.ANALYSES, "analyses of a run")
    except OSError as error:
        raise ConfigError(f"{folder / INDEX} cannot be read: {error.strerror}") from error
    pictures, tables = [], []
    for name, analysis in index.analyses.items():
        for stem, caption in analysis.figures.items():
            if (svg := _read(folder, f"{stem}.svg", lacking)) is not None:
                title = analysis.title
                pictures.append(
                    Picture(name=stem, title=title, caption=caption, svg=svg, wide=True)
                )
        if analysis.table and (text := _read(folder, analysis.table, lacking)) is not None:
            try:
                tables.append(_table(f"analysis-{name}", analysis.title, text))
            except (csv.Error, ValueError) as error:
                lacking.append(f"{analysis.table!r} of {ANALYSES}/{INDEX} is no table: {error}.")
    return Section(title="Analyses", pictures=pictures, folded=tables)


def _read(folder: Path, name: str, lacking: list[str]) -> bytes | None:
    """A file beside the index, and nowhere else, whatever a link there points to."""
    file = folder / name
    try:
        elsewhere = Path(name).name != name or file.is_symlink()
        if elsewhere or not file.is_file() or file.stat().st_size > LARGEST:
            raise FileNotFoundError(2, "there is no such file of a usual size")
        return file.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        lacking.append(f"{name!r} of {ANALYSES}/{INDEX} cannot be shown: {reason}.")
        return None


def _table(name: str, title: str, text: bytes) -> Table:
    columns, *rows = list(csv.reader(text.decode("utf-8", "replace").splitlines())) or [[]]
    if not columns or len(set(columns)) < len(columns):
        raise ValueError("its first line does not name each column once")
    width = len(columns)
    every = [tuple((row + [""] * width)[:width]) for row in rows]
    right = [all(_is_numeric(row[n]) for row in every) for n in range(width)]
    notes = (f"The first {ROWS} of {len(every)} rows.",) if len(every) > ROWS else ()
    return Table(
        name=name,
        title=title,
        headings=tuple(map(Heading, columns, right)),
        rows=[tuple(map(_short, row)) for row in every[:ROWS]],
        data=[dict(zip(columns, row, strict=True)) for row in every],
        notes=notes,
    )


def _short(cell: str) -> str:
    return f"{float(cell):.5g}" if _is_numeric(cell) and "." in cell else cell


def _is_numeric(cell: str) -> bool:
    try:
        float(cell or "0")
    except ValueError:
        return False
    return True
