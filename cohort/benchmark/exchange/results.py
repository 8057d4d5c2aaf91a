"""The benchmark's numbers: a table for people, and JSON with everything that went into it."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from cohort.benchmark import report
from cohort.benchmark.exchange.config import MODES, BenchConfig, Mode
from cohort.benchmark.exchange.measure import Measurements
from cohort.benchmark.report import quartiles, spread
from cohort.reporting.formatting import number

MIB = 2**20


def rows(config: BenchConfig, measured: Measurements) -> dict[Mode, dict[str, Any]]:
    """Per mode: quartiles (25, 50, 75 %) over the rounds of speed and of relative step time."""
    alone = np.array(measured.round_seconds[MODES[0]])
    images = config.batch_size * config.steps_per_round
    return {
        mode: {
            "images_per_second": quartiles(images / np.array(seconds)),
            # Round by round, so that what slows the whole machine cancels out.
            "step_time_vs_independent": quartiles(np.array(seconds) / alone),
            "startup_seconds": measured.startup_seconds.get(mode),
            "peak_memory_bytes": measured.peak_memory[mode],
        }
        for mode, seconds in measured.round_seconds.items()
    }


def table(config: BenchConfig, measured: Measurements) -> Table:
    """The rows for a terminal: medians, with the quartiles in brackets."""
    result = Table("mode", title=_title(config, measured), caption=_caption(config, measured))
    for heading in ("images/s per student", "step time vs independent"):
        result.add_column(heading, justify="right", no_wrap=True)
    result.add_column("start-up s", justify="right")
    result.add_column("peak RSS MiB per student", justify="right")
    for mode, row in rows(config, measured).items():
        result.add_row(
            mode,
            spread(row["images_per_second"], ".1f"),
            spread(row["step_time_vs_independent"], ".3f"),
            number(row["startup_seconds"], ".1f"),
            number(row["peak_memory_bytes"] / MIB, ".0f") + ("*" if mode == "in_process" else ""),
        )
    return result


def write_json(path: str | Path, config: BenchConfig, measured: Measurements) -> None:
    """Everything measured, and on what."""
    values = {
        "config": {k: v for k, v in dataclasses.asdict(config).items() if k != "output"},
        "summary": rows(config, measured),
        **dataclasses.asdict(measured),
    }
    report.write_json(path, values)


def _title(config: BenchConfig, measured: Measurements) -> str:
    device = "GPU" if measured.gpus else f"{config.threads} CPU thread(s) each"
    return f"K={config.k} {config.students}, {config.dataset}, batch {config.batch_size}, {device}"


def _caption(config: BenchConfig, measured: Measurements) -> str:
    lines = [
        rf"Medians and \[quartiles] of {config.rounds} rounds of {config.steps_per_round} steps; "
        "times are compared round by round.",
        "* The whole process, which also drives the actors, divided by K; the actors serve all "
        "other modes.",
    ]
    return "\n".join([*lines, measured.notice] if measured.notice else lines)
