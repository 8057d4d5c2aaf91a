"""What a step costs, as ratios: a table for people, and JSON with everything that went into it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from cohort.benchmark import report
from cohort.benchmark.report import Column, bench_table, measured_in, quartiles, ratios
from cohort.benchmark.self_distill.config import METHODS, StepBenchConfig
from cohort.benchmark.self_distill.measure import Seconds

TWO_STEP = "two-step distillation: teacher then student"
"""A step of the plain network for every step of the student beside its frozen teacher."""
COLUMNS = (
    Column("ms a step", "step_ms", ".1f"),
    Column("vs none", "step_time_vs_none", ".3f", "step time over that of the plain network"),
    Column("vs byot", "step_time_vs_byot", ".3f", "step time over that of self-distillation"),
)


def rows(config: StepBenchConfig, seconds: Seconds) -> dict[str, dict[str, list[float]]]:
    """Per method, and for two-step distillation: quartiles (25, 50, 75 %) over the rounds.

    Of the milliseconds of a step, and of its time relative to the plain network's and to
    self-distillation's.
    """
    times: dict[str, Any] = {method: np.array(seconds[method]) for method in METHODS}
    times[TWO_STEP] = times["none"] + times["kd"]
    return {
        name: {
            "step_ms": quartiles(1000 * time / config.steps),
            "step_time_vs_none": ratios(times, name, "none"),
            "step_time_vs_byot": ratios(times, name, "byot"),
        }
        for name, time in times.items()
    }


def table(config: StepBenchConfig, seconds: Seconds) -> Table:
    """The rows for a terminal: medians, with the quartiles in brackets."""
    job = config.job("none")
    return bench_table(
        f"{job.model}, {config.dataset}, batch {job.batch_size}, {config.precision}",
        "method",
        rows(config, seconds),
        COLUMNS,
        measured_in(config.rounds, config.steps),
        "The teacher of kd, fitnet and at has the student's network; two-step distillation is none + kd.",
    )


def write_json(path: str | Path, config: StepBenchConfig, seconds: Seconds) -> None:
    """Write the configuration, the rows, everything measured, and on what."""
    job = config.job("none")
    values = {"summary": rows(config, seconds), "round_seconds": seconds}
    report.write_json(
        path, replace(config, model=str(job.model), batch_size=job.batch_size), values
    )
