"""What a step of ODS distillation costs, as ratios: tables for people, and JSON with everything."""

import dataclasses
from pathlib import Path

import numpy as np
from rich.table import Table

from cohort.benchmark import report
from cohort.benchmark.ods.config import METHODS, PARTS, OdsBenchConfig
from cohort.benchmark.ods.measure import Measured
from cohort.benchmark.report import Column, bench_table, measured_in, quartiles, ratios

Row = dict[str, list[float]]
COLUMNS = (
    Column("ms a step", "step_ms", ".1f"),
    Column("vs single", "step_time_vs_single", ".3f", "step time over that of one network"),
    Column(
        "vs kd", "step_time_vs_kd", ".3f", "step time over that of distillation on clean images"
    ),
    Column("share", "share", ".3f", "of the step"),
    Column(
        "GMAC", "giga_multiply_adds", ".3f", "10⁹ multiply-adds in convolutions and linear layers"
    ),
    Column("ms a GMAC", "ms_per_giga", ".1f"),
)


def rows(config: OdsBenchConfig, measured: Measured) -> dict[str, Row]:
    """Per method: quartiles (25, 50, 75 %) over the rounds, and multiply-adds, in a list of one.

    Of the milliseconds of a step, of its time relative to the single network's and to that of
    distillation on unperturbed images, and of its milliseconds for 10⁹ multiply-adds.
    """
    times = measured.round_seconds
    return {
        str(method): {
            "step_time_vs_single": ratios(times, method, "single"),
            "step_time_vs_kd": ratios(times, method, "kd"),
            **_costs(config, times[method], sum(measured.multiply_adds[method].values())),
        }
        for method in METHODS
    }


def part_rows(config: OdsBenchConfig, measured: Measured) -> dict[str, Row]:
    """Per part of a step of ``ods``: quartiles of its time and share of the step, and multiply-adds."""
    times = measured.part_seconds | {"step": np.sum(list(measured.part_seconds.values()), axis=0)}
    return {
        part: {
            "share": ratios(times, part, "step"),
            **_costs(config, times[part], measured.multiply_adds["ods"][part]),
        }
        for part in PARTS
    }


def tables(config: OdsBenchConfig, measured: Measured) -> list[Table]:
    """The methods, and the parts of ODS, for a terminal: medians, with the quartiles in brackets."""
    title = (
        f"{config.model}, {config.members} members, batch {config.batch_size}, {config.precision}"
    )
    methods, parts = rows(config, measured), part_rows(config, measured)
    note = measured_in(config.rounds, config.steps)
    return [
        bench_table(title, "method", methods, COLUMNS, note),
        bench_table(None, "part of a step of ods", parts, COLUMNS, note),
    ]


def write_json(path: str | Path, config: OdsBenchConfig, measured: Measured) -> None:
    """Write the configuration, the rows, everything measured, and on what."""
    found = {"summary": rows(config, measured), "parts": part_rows(config, measured)}
    report.write_json(path, config, found | dataclasses.asdict(measured))


def _costs(config: OdsBenchConfig, seconds: list[float], multiply_adds: int) -> Row:
    step_ms = 1000 * np.array(seconds) / config.steps
    billions = multiply_adds / 1e9
    return {
        "step_ms": quartiles(step_ms),
        "giga_multiply_adds": [billions],
        "ms_per_giga": quartiles(step_ms / billions),
    }
