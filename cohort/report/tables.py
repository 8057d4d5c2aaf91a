"""Tables of a page, and the files that they leave as: CSV, JSON, Markdown, LaTeX."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rich.table

from cohort.files import atomic_write, to_json


@dataclass(frozen=True)
class Heading:
    """Of a column."""

    text: str
    right: bool = False
    """Numbers stand to the right, so that their digits are one below the other."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """What people read, and the numbers behind it."""

    name: str
    """Its files' without a suffix."""
    title: str
    headings: tuple[Heading, ...]
    rows: Sequence[tuple[str, ...]]
    """As people read them."""
    data: Sequence[Mapping[str, Any]] = ()
    """With all digits, under the names that files have; the rows' own text if there are none."""
    notes: tuple[str, ...] = ()
    """What columns mean, a line each."""
    marked: frozenset[int] = field(default_factory=frozenset)
    """Rows that are to be seen first."""

    @classmethod
    def of_rich(
        cls, name: str, title: str, table: rich.table.Table, data: Sequence[Mapping[str, Any]]
    ) -> "Table":
        """The table that the terminal shows, so that both say the same."""
        headings = tuple(
            Heading(_unfolded(str(column.header)), column.justify == "right")
            for column in table.columns
        )
        columns = [[_plain(cell) for cell in column.cells] for column in table.columns]
        rows = list(zip(*columns, strict=True))
        notes = tuple(line for line in _plain(table.caption or "").splitlines() if line)
        return cls(name=name, title=title, headings=headings, rows=rows, data=data, notes=notes)


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write a table in every form: numbers as CSV and JSON, what people read as Markdown and LaTeX."""
    forms = {"csv": to_csv, "json": to_json_rows, "md": to_markdown, "tex": to_latex}
    files = []
    for suffix, form in forms.items():
        files.append(folder / f"{table.name}.{suffix}")
        atomic_write(files[-1], encoded(form(table)))
    return files


def encoded(text: str) -> bytes:
    """As UTF-8; halves of a letter, which JSON may hold and UTF-8 may not, are question marks."""
    return text.encode("utf-8", "replace")


def to_csv(table: Table) -> str:
    """With the columns of all rows, and every number with all its digits."""
    rows = _data(table)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_json_rows(table: Table) -> str:
    """A list of objects; a number that is not finite is null."""
    return to_json(_in_json(_data(table)), indent=2) + "\n"


def to_markdown(table: Table) -> str:
    """As GitHub reads it.

    Example:
        >>> print(to_markdown(Table(name="t", title="", headings=(Heading("a|b", True),), rows=[("1",)])))
        | a\\|b |
        | ---: |
        | 1 |
        <BLANKLINE>
    """
    rows = [[heading.text for heading in table.headings], *table.rows]
    lines = [f"| {' | '.join(map(_in_markdown, row))} |" for row in rows]
    rules = ["---:" if heading.right else ":---" for heading in table.headings]
    return "\n".join([lines[0], f"| {' | '.join(rules)} |", *lines[1:], ""])


def to_latex(table: Table) -> str:
    """A tabular with the rules of the package booktabs."""
    import pandas as pd  # takes a third of a second, which a page without files does without

    # pandas takes no halves of letters.
    rows = [[" ".join(encoded(cell).decode().split()) for cell in row] for row in table.rows]
    frame = pd.DataFrame(rows, columns=[encoded(each.text).decode() for each in table.headings])
    formed = frame.style.format(escape="latex").format_index(escape="latex", axis="columns")
    formed = formed.hide(axis="index")
    columns = "".join("r" if heading.right else "l" for heading in table.headings)
    latex: str = formed.to_latex(hrules=True, column_format=columns)
    return latex


def _data(table: Table) -> Sequence[Mapping[str, Any]]:
    names = [heading.text for heading in table.headings]
    return table.data or [dict(zip(names, row, strict=True)) for row in table.rows]


def _in_json(value: Any) -> Any:
    """What JSON has no form for, such as a date that a config holds, as text."""
    if isinstance(value, Mapping):
        return {str(key): _in_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_in_json(item) for item in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _in_markdown(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return " ".join(escaped.split())


def _plain(cell: object) -> str:
    return str(getattr(cell, "plain", cell))  # a rich Text has markup of its own


def _unfolded(heading: str) -> str:
    return heading.replace("-\n", "").replace("\n", " ")
