"""Tables as files: CSV and JSON with all that was measured, Markdown and LaTeX as a paper prints it."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from cohort.errors import ConfigError
from cohort.files import atomic_write, refuse_uri, to_json
from cohort.version import versions

SUFFIXES = (".csv", ".json", ".md", ".tex")
LATEX = str.maketrans(
    {sign: rf"\{sign}" for sign in "&%$#_{}"}
    | {"–": "--", "≤": r"$\leq$", "≥": r"$\geq$", "~": r"\textasciitilde{}"}
    | {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}"}
)

Row = Mapping[str, Any]


class Column(NamedTuple):
    """A column of a printed table: heading, the key of a row's value, and how that is written."""

    heading: str
    key: str
    written: Callable[[Any], str] | None = None
    """None: a word, which stands at the left."""


def check_file(output: str, flag: str = "--output") -> Path:
    """Where a table goes. Raises ConfigError, naming the flag, for what cannot be written there.

    That is a suffix of no known format, a folder that is not there, or a file that is.
    """
    refuse_uri(output, flag)
    path = Path(output)
    if path.suffix.lower() not in SUFFIXES:
        *most, last = SUFFIXES
        raise ConfigError(f"{flag} is {output}; it must end in {', '.join(most)} or {last}")
    if path.exists():
        raise ConfigError(f"{flag} {output} exists already; name a new file")
    if not path.parent.is_dir():
        raise ConfigError(f"{flag} is {output}; it must be a file in a folder that is there")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{flag} {output} cannot be written: permission denied")
    return path


def write_table(
    path: Path, rows: Sequence[Row], columns: Sequence[Column], notes: Sequence[str] = ()
) -> None:
    """Write rows in the format of the suffix; ConfigError if they cannot be.

    CSV and JSON have every key of every row, Markdown and LaTeX those ``columns`` that some row has
    something in. JSON, Markdown and LaTeX have the notes, and JSON the versions too.
    """
    kind = path.suffix.lower()
    rows = [{key: _encodable(value) for key, value in row.items()} for row in rows]
    notes = [_encodable(note) for note in notes]
    if kind == ".csv":
        text = pd.DataFrame(list(rows)).convert_dtypes().to_csv(index=False)
    elif kind == ".json":
        text = to_json({"rows": rows, "notes": notes, "versions": versions()}, indent=1) + "\n"
    else:
        used = [
            column for column in columns if any(row.get(column.key) is not None for row in rows)
        ]
        text = (_markdown if kind == ".md" else _latex)(rows, used, notes)
    try:
        atomic_write(path, text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _markdown(rows: Sequence[Row], columns: Sequence[Column], notes: Sequence[str]) -> str:
    lines = [
        [column.heading for column in columns],
        ["---:" if column.written else "---" for column in columns],
        *_cells(rows, columns),
    ]
    table = ["| " + " | ".join(map(_in_markdown, line)) + " |" for line in lines]
    return "\n".join([*table, *(f"\n{note}" for note in notes)]) + "\n"


def _in_markdown(cell: str) -> str:
    return " ".join(cell.replace("\\", r"\\").replace("|", r"\|").split())


def _encodable(value: Any) -> Any:
    """A name of a folder that is no UTF-8, as a file in UTF-8 has it."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _latex(rows: Sequence[Row], columns: Sequence[Column], notes: Sequence[str]) -> str:
    """For the package booktabs; the notes are comments."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(" ".join(cell.translate(LATEX).split()) for cell in cells) + r" \\"

    sides = "".join("r" if column.written else "l" for column in columns)
    return "\n".join(
        [
            *(f"% {' '.join(note.split())}" for note in notes),
            rf"\begin{{tabular}}{{{sides}}}",
            r"\toprule",
            line([column.heading for column in columns]),
            r"\midrule",
            *(line(cells) for cells in _cells(rows, columns)),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _cells(rows: Sequence[Row], columns: Sequence[Column]) -> list[list[str]]:
    """As they are printed; a cell without a value is empty."""
    return [
        [
            "" if (value := row.get(key)) is None else (written or str)(value)
            for _, key, written in columns
        ]
        for row in rows
    ]
