"""What a step of ODS distillation costs, as ratios: tables for people, and JSON with everything."""

import dataclasses
from pathlib import Path

import numpy as np
from rich.table import Table

from cohort.benchmark import report
from cohort.benchmark.ods.config import METHODS, PARTS, OdsBenchConfig
from cohort.benchmark.ods.measure import Measured
from cohort.benchmark.report import quartiles, spread
from cohort.reporting.formatting import number

Row = dict[str, list[float]]


def rows(config: OdsBenchConfig, measured: Measured) -> dict[str, Row]:
    """Per method: quartiles (25, 50, 75 %) over the rounds, and multiply-adds, in a list of one.

    Of the milliseconds of a step, of its time relative to the single network's and to that of
    distillation on unperturbed images, and of its milliseconds for 10⁹ multiply-adds.
    """
    times = {method: np.array(measured.round_seconds[method]) for method in METHODS}
    result = {}
    for method, time in times.items():
        billions = sum(measured.multiply_adds[method].values()) / 1e9
        result[str(method)] = {
            "step_ms": quartiles(1000 * time / config.steps),
            # Round by round, so that what slows the whole machine cancels out.
            "step_time_vs_single": quartiles(time / times["single"]),
            "step_time_vs_kd": quartiles(time / times["kd"]),
            "giga_multiply_adds": [billions],
            "ms_per_giga": quartiles(1000 * time / config.steps / billions),
        }
    return result


def part_rows(config: OdsBenchConfig, measured: Measured) -> dict[str, Row]:
    """Per part of a step of ``ods``: the same of its milliseconds, and of its share of the step."""
    times = {part: np.array(measured.part_seconds[part]) for part in PARTS}
    whole = np.sum(list(times.values()), axis=0)
    result = {}
    for part, time in times.items():
        billions = measured.multiply_adds["ods"][part] / 1e9
        result[part] = {
            "step_ms": quartiles(1000 * time / config.steps),
            "share": quartiles(time / whole),
            "giga_multiply_adds": [billions],
            "ms_per_giga": quartiles(1000 * time / config.steps / billions),
        }
    return result


def tables(config: OdsBenchConfig, measured: Measured) -> list[Table]:
    """The methods, and the parts of ODS, for a terminal: medians, with the quartiles in brackets."""
    title = (
        f"{config.model}, {config.members} members, batch {config.batch_size}, {config.precision}"
    )
    methods = _table("method", title, ("vs single", "vs kd"))
    methods.caption = (
        rf"Medians and \[quartiles] of {config.rounds} rounds of {config.steps} steps; times are "
        "compared round by round.\nGMAC: 10⁹ multiply-adds in convolutions and linear layers."
    )
    for name, row in rows(config, measured).items():
        _add(methods, name, row, ("step_time_vs_single", "step_time_vs_kd"))
    parts = _table("part of a step of ods", None, ("share",))
    for name, row in part_rows(config, measured).items():
        _add(parts, name, row, ("share",))
    return [methods, parts]


def write_json(path: str | Path, config: OdsBenchConfig, measured: Measured) -> None:
    """Everything measured, and on what."""
    asked = dataclasses.asdict(config)
    del asked["output"]
    values = {"config": asked, "summary": rows(config, measured)}
    values |= {"parts": part_rows(config, measured)} | dataclasses.asdict(measured)
    report.write_json(path, values)


def _table(first: str, title: str | None, ratios: tuple[str, ...]) -> Table:
    result = Table(first, title=title)
    for heading in ("ms a step", *ratios, "GMAC", "ms a GMAC"):
        result.add_column(heading, justify="right", no_wrap=True)
    return result


def _add(table: Table, name: str, row: Row, ratios: tuple[str, ...]) -> None:
    table.add_row(
        name,
        spread(row["step_ms"], ".1f"),
        *(spread(row[ratio], ".3f") for ratio in ratios),
        number(row["giga_multiply_adds"][0], ".3f"),
        spread(row["ms_per_giga"], ".1f"),
    )
