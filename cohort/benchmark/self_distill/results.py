"""What a step costs, as ratios: a table for people, and JSON with everything that went into it."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from cohort.benchmark import report
from cohort.benchmark.report import quartiles, spread
from cohort.benchmark.self_distill.config import METHODS, StepBenchConfig
from cohort.benchmark.self_distill.measure import Seconds

TWO_STEP = "two-step distillation: teacher then student"
"""A step of the plain network for every step of the student beside its frozen teacher."""


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
            # Round by round, so that what slows the whole machine cancels out.
            "step_time_vs_none": quartiles(time / times["none"]),
            "step_time_vs_byot": quartiles(time / times["byot"]),
        }
        for name, time in times.items()
    }


def table(config: StepBenchConfig, seconds: Seconds) -> Table:
    """The rows for a terminal: medians, with the quartiles in brackets."""
    job = config.job("none")
    result = Table(
        "method",
        title=f"{job.model}, {config.dataset}, batch {job.batch_size}, {config.precision}",
        caption=rf"Medians and \[quartiles] of {config.rounds} rounds of {config.steps} steps; "
        "times are compared round by round.\nThe teacher of kd, fitnet and at has the student's "
        "network; two-step distillation is none + kd.",
    )
    for heading in ("ms a step", "vs none", "vs byot"):
        result.add_column(heading, justify="right", no_wrap=True)
    for name, row in rows(config, seconds).items():
        if name == TWO_STEP:
            result.add_section()
        result.add_row(
            name,
            spread(row["step_ms"], ".1f"),
            spread(row["step_time_vs_none"], ".3f"),
            spread(row["step_time_vs_byot"], ".3f"),
        )
    return result


def write_json(path: str | Path, config: StepBenchConfig, seconds: Seconds) -> None:
    """Everything measured, and on what."""
    job = config.job("none")
    asked: dict[str, Any] = dataclasses.asdict(config)
    resolved = asked | {"model": job.model, "batch_size": job.batch_size}
    del resolved["output"]
    values = {"config": resolved, "summary": rows(config, seconds), "round_seconds": seconds}
    report.write_json(path, values)
