"""What the benchmarks' results share: quartiles, tables, and JSON that says on what they were measured."""

import dataclasses
import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from rich.table import Table

from cohort.files import atomic_write, to_json
from cohort.reporting.display import explain
from cohort.reporting.formatting import number
from cohort.version import commit, versions

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class Column(NamedTuple):
    """A column of a benchmark's table: the key in its rows, as it is written, and what it is."""

    heading: str
    key: str
    form: str
    meaning: str | None = None
    scale: float = 1


def quartiles(values: Any) -> list[float]:
    """25, 50 and 75 %.

    Example:
        >>> quartiles([1, 2, 3, 4, 5])
        [2.0, 3.0, 4.0]
    """
    return [float(q) for q in np.percentile(values, (25, 50, 75))]


def ratios(times: Mapping[Any, Any], name: str, reference: str) -> list[float]:
    """Quartiles of one's times relative to the reference's, round by round.

    So what slows the whole machine for some rounds cancels out.
    """
    return quartiles(np.array(times[name]) / np.array(times[reference]))


def spread(of: Sequence[float], form: str) -> str:
    """Quartiles for people: the median, and the others in brackets.

    Example:
        >>> spread([2.0, 3.0, 4.0], ".1f")
        '3.0 [2.0, 4.0]'
    """
    low, median, high = (number(q, form) for q in of)
    return f"{median} [{low}, {high}]"


def bench_table(
    title: str | None,
    first: str,
    rows: Mapping[Any, Mapping[str, Any]],
    columns: Sequence[Column],
    *notes: str,
) -> Table:
    """A line per row, named in the ``first`` column, with the ``columns`` that rows have.

    What a column is stands underneath, after the notes.
    """
    table = Table(first, title=title)
    columns = [column for column in columns if all(column.key in row for row in rows.values())]
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for name, row in rows.items():
        table.add_row(name, *(_cell(row[column.key], column) for column in columns))
    explain(table, {c.heading: c.meaning for c in columns if c.meaning is not None}, *notes)
    return table


def _cell(value: Any, column: Column) -> str:
    if isinstance(value, list) and len(value) > 1:
        return spread(value, column.form)
    (value,) = value if isinstance(value, list) else (value,)
    return number(None if value is None else value * column.scale, column.form)


def measured_in(rounds: int, steps: int) -> str:
    """The line under a table that says what its numbers are."""
    return (
        f"Medians and [quartiles] of {rounds} rounds of {steps} steps; times are compared round by "
        "round."
    )


def write_json(path: str | Path, config: "DataclassInstance", measured: Mapping[str, Any]) -> None:
    """What was asked for and measured, with date, commit, hardware and versions."""
    values = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "hardware": hardware(),
        "versions": versions(),
        "config": {k: v for k, v in dataclasses.asdict(config).items() if k != "output"},
        **measured,
    }
    atomic_write(Path(path), to_json(values, indent=1))


def hardware() -> dict[str, Any]:
    """Processor, cores and GPUs of this machine."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"cpu": _cpu_model(), "cores": os.cpu_count(), "gpus": gpus}


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
