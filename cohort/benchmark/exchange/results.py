"""The benchmark's numbers: a table for people, and JSON with everything that went into it."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from cohort.benchmark import report
from cohort.benchmark.exchange.config import MODES, BenchConfig, Mode
from cohort.benchmark.exchange.measure import Measurements
from cohort.benchmark.report import Column, bench_table, measured_in, quartiles, ratios

COLUMNS = (
    Column("images/s", "images_per_second", ".1f", "per student"),
    Column(
        "vs independent", "step_time_vs_independent", ".3f", "step time over that of students alone"
    ),
    Column("start-up s", "startup_seconds", ".1f", "from the command to the first step"),
    Column(
        "peak RSS MiB",
        "peak_memory_bytes",
        ".0f",
        "memory per student; of in_process the whole process, which also drives the actors, divided "
        "by K; the actors serve all other modes",
        scale=2**-20,
    ),
)


def rows(config: BenchConfig, measured: Measurements) -> dict[Mode, dict[str, Any]]:
    """Per mode: quartiles (25, 50, 75 %) over the rounds of speed and of relative step time."""
    images = config.batch_size * config.steps_per_round
    return {
        mode: {
            "images_per_second": quartiles(images / np.array(seconds)),
            "step_time_vs_independent": ratios(measured.round_seconds, mode, MODES[0]),
            "startup_seconds": measured.startup_seconds.get(mode),
            "peak_memory_bytes": measured.peak_memory[mode],
        }
        for mode, seconds in measured.round_seconds.items()
    }


def table(config: BenchConfig, measured: Measurements) -> Table:
    """The rows for a terminal: medians, with the quartiles in brackets."""
    device = "GPU" if measured.gpus else f"{config.threads} CPU thread(s) each"
    title = f"K={config.k} {config.students}, {config.dataset}, batch {config.batch_size}, {device}"
    notes = filter(None, (measured_in(config.rounds, config.steps_per_round), measured.notice))
    return bench_table(title, "mode", rows(config, measured), COLUMNS, *notes)


def write_json(path: str | Path, config: BenchConfig, measured: Measurements) -> None:
    """Write the configuration, the rows, everything measured, and on what."""
    values = {"summary": rows(config, measured), **dataclasses.asdict(measured)}
    report.write_json(path, config, values)
