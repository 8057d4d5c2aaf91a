"""The latencies of exchanges: a table for people, and JSON with everything that went into it."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from cohort.benchmark import report
from cohort.benchmark.exchange.config import BenchConfig
from cohort.benchmark.exchange.latency import WAYS, Latencies, Measured
from cohort.benchmark.report import Column, bench_table, quartiles

COLUMNS = (
    Column("ms a step", "median_seconds", ".2f", "the exchange alone: the median step", scale=1e3),
    Column("90 %", "p90_seconds", ".2f", "as many steps took no longer", scale=1e3),
    Column("99 %", "p99_seconds", ".2f", scale=1e3),
    Column(
        "vs all_gather",
        "round_vs_all_gather",
        ".2f",
        "a round's time over that of the bare operation",
    ),
    Column(
        "KiB a student",
        "bytes_a_student",
        ".1f",
        "that it sends in a step, and receives",
        scale=2**-10,
    ),
)


def rows(of_size: Latencies) -> dict[str, dict[str, Any]]:
    """Per way: percentiles over all steps, quartiles over the rounds of the time relative to gloo's."""
    sums = {way: np.array([steps.sum() for steps in of_size.seconds[way]]) for way in WAYS}
    return {
        way: {
            "median_seconds": float(np.median(steps)),
            "p90_seconds": float(np.percentile(steps, 90)),
            "p99_seconds": float(np.percentile(steps, 99)),
            "round_vs_all_gather": quartiles(sums[way] / sums[WAYS[0]]),
            "bytes_a_student": of_size.bytes_a_student[way],
        }
        for way in WAYS
        for steps in [np.concatenate(of_size.seconds[way])]
    }


def table(config: BenchConfig, measured: Measured) -> Table:
    """The rows for a terminal."""
    title = f"K={config.k} in {len(measured.hosts)} processes, {config.wire}, nothing computed"
    every = {
        f"{batch}x{classes} {way}": row
        for (batch, classes), of_size in measured.latencies.items()
        for way, row in rows(of_size).items()
    }
    note = f"{config.rounds} rounds of {config.steps_per_round} steps, in which all take turns."
    return bench_table(title, "posteriors", every, COLUMNS, note)


def write_json(path: str | Path, config: BenchConfig, measured: Measured) -> None:
    """Write the configuration, the rows, and every step that was measured, and on what."""
    values = {
        f"{batch}x{classes}": {
            "summary": rows(of_size),
            "step_seconds": {
                way: [steps.tolist() for steps in rounds] for way, rounds in of_size.seconds.items()
            },
        }
        for (batch, classes), of_size in measured.latencies.items()
    }
    report.write_json(path, config, {"students_of_processes": measured.hosts, **values})
