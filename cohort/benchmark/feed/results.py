"""What decoding costs, as ratios: a table for people, and JSON with everything that went into it."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from cohort.benchmark import report
from cohort.benchmark.feed.config import MODES, FeedBenchConfig, Mode
from cohort.benchmark.feed.measure import Measurements
from cohort.benchmark.report import Column, bench_table, measured_in, quartiles, ratios

NAMES: dict[Mode, str] = {
    "each": "each student decodes",
    "feeder": "one feeder for all",
    "ready": "ready before",
}
COLUMNS = (
    Column("images/s", "images_per_second", ".1f", "per student"),
    Column("vs each", "speed_vs_each", ".2f", "images/s over those where each student decodes"),
    Column(
        "CPU ms",
        "cpu_ms_an_image",
        ".2f",
        "of all students and the feeder, for an image of the batch",
    ),
    Column(
        "reading vs each",
        "reading_vs_each",
        ".2f",
        "CPU time of decoding, augmenting and handing over, which is what there is beyond students whose "
        "batch is ready, over the same where each decodes",
    ),
)


def rows(config: FeedBenchConfig, measured: Measurements) -> dict[Mode, dict[str, Any]]:
    """Per way to decode: quartiles (25, 50, 75 %) over the rounds."""
    images = config.batch_size * config.steps
    seconds, cpu = (
        {mode: np.array([took[i] for took in measured.rounds[mode]]) for mode in MODES}
        for i in (0, 1)
    )
    speed = {mode: images / seconds[mode] for mode in MODES}
    reading = {mode: cpu[mode] - cpu["ready"] for mode in MODES}
    return {
        mode: {
            "images_per_second": quartiles(speed[mode]),
            "speed_vs_each": ratios(speed, mode, "each"),
            "cpu_ms_an_image": quartiles(1000 * cpu[mode] / images),
            "reading_vs_each": ratios(reading, mode, "each"),
        }
        for mode in MODES
    }


def table(config: FeedBenchConfig, measured: Measurements) -> Table:
    """The rows for a terminal: medians, with the quartiles in brackets."""
    size, mib = config.image_size, 2**20
    return bench_table(
        f"K={config.k}, JPEG files of {size}, batch {config.batch_size}",
        "",
        {NAMES[mode]: row for mode, row in rows(config, measured).items()},
        COLUMNS,
        measured_in(config.rounds, config.steps),
        f"The feeder grew by {measured.feeder_growth / mib:.0f} MiB; the batches that it may keep have "
        f"{measured.kept_at_most / mib:.0f} MiB.",
        *filter(None, [measured.notice]),
    )


def write_json(path: str | Path, config: FeedBenchConfig, measured: Measurements) -> None:
    """Write the configuration, the rows, everything measured, and on what."""
    took = {mode: [each._asdict() for each in turns] for mode, turns in measured.rounds.items()}
    values = {
        "summary": rows(config, measured),
        "rounds": took,
        "feeder_growth": measured.feeder_growth,
        "kept_at_most": measured.kept_at_most,
        "gpus": measured.gpus,
    }
    report.write_json(path, config, values)
