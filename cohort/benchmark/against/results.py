"""Who is faster, as ratios: a table for people, and JSON with everything that went into it."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from cohort.benchmark import report
from cohort.benchmark.against.config import OURS, AgainstConfig
from cohort.benchmark.against.measure import Measurements
from cohort.benchmark.report import Column, bench_table, measured_in, quartiles, ratios

COLUMNS = (
    Column("images/s", "images_per_second", ".1f", "per student"),
    Column("cohort's", "speed_of_ours", ".2f", "images/s of cohort over those of the row"),
)


def rows(config: AgainstConfig, measured: Measurements) -> dict[str, dict[str, list[float]]]:
    """Who took the steps: quartiles (25, 50, 75 %) over the rounds of speed and of ours over it."""
    images = config.batch_size * config.steps
    seconds = measured.round_seconds
    return {
        name: {
            "images_per_second": quartiles(images / np.array(times)),
            "speed_of_ours": ratios(seconds, name, OURS),
        }
        for name, times in seconds.items()
    }


def table(config: AgainstConfig, measured: Measurements) -> Table:
    """The rows for a terminal: medians, with the quartiles in brackets."""
    device = "GPU" if measured.gpus else f"{measured.threads} CPU thread(s) in all"
    return bench_table(
        f"K={config.k} {config.students}, batch {config.batch_size}, {config.precision}, {device}",
        "",
        rows(config, measured),
        COLUMNS,
        measured_in(config.rounds, config.steps),
        "The packages train in fp32.",
        *filter(None, [measured.notice]),
    )


def write_json(path: str | Path, config: AgainstConfig, measured: Measurements) -> None:
    """Write the configuration, the rows, everything measured, and on what."""
    values: dict[str, Any] = {"summary": rows(config, measured), **dataclasses.asdict(measured)}
    report.write_json(path, config, values)
