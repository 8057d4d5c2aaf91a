"""Milliseconds a step: a table for people, and JSON with everything that went into it."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from cohort.benchmark import report
from cohort.benchmark.report import Column, bench_table, measured_in, quartiles, ratios
from cohort.benchmark.step.config import CohortStepBenchConfig, Way
from cohort.benchmark.step.measure import Seconds

MEANINGS: dict[Way, str] = {
    "eager": "kernel by kernel, one student after another",
    "graph": "one CUDA graph, a stream for each student",
    "compiled": "the same through torch.compile; on a CPU without a graph",
}


def rows(config: CohortStepBenchConfig, seconds: Seconds) -> dict[str, dict[str, list[float]]]:
    """Per number of students: quartiles (25, 50, 75 %) over the rounds.

    Of the milliseconds of a step of all students in each way, and of the eager step's time over
    that of the fastest way.
    """
    return {
        str(k): {
            **{
                way: quartiles(1000 * np.array(times) / config.steps) for way, times in ways.items()
            },
            "speedup": ratios(
                ways, "eager", min(ways, key=lambda way: float(np.median(ways[way])))
            ),
        }
        for k, ways in seconds.items()
    }


def table(config: CohortStepBenchConfig, seconds: Seconds) -> Table:
    """The rows for a terminal: medians, with the quartiles in brackets."""
    columns: list[Column] = [Column(way, way, ".2f", said) for way, said in MEANINGS.items()]
    columns.append(Column("speedup", "speedup", ".2f", "eager over the fastest"))
    return bench_table(
        f"ms a step of all students: {config.students}, {config.dataset}, batch {config.batch_size}, "
        f"{config.precision}",
        "students",
        rows(config, seconds),
        columns,
        measured_in(config.rounds, config.steps),
    )


def write_json(path: str | Path, config: CohortStepBenchConfig, seconds: Seconds) -> None:
    """Write the configuration, the rows, everything measured, and on what."""
    values: dict[str, Any] = {"summary": rows(config, seconds), "round_seconds": seconds}
    report.write_json(path, config, values)
